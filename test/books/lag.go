package books

import (
	"context"
	"fmt"

	"github.com/segmentio/kafka-go"
)

// Ends are the high-water marks of a topic, by partition; none when there is no such topic.
func Ends(ctx context.Context, brokers []string, topic string) (map[int]int64, error) {
	// The shared transport answers from what it knew some seconds ago: a topic that is newer would count as none.
	fresh := &kafka.Transport{}
	defer fresh.CloseIdleConnections()
	client := &kafka.Client{Addr: kafka.TCP(brokers...), Transport: fresh}
	meta, err := client.Metadata(ctx, &kafka.MetadataRequest{Topics: []string{topic}})
	if err != nil {
		return nil, fmt.Errorf("ask for %s: %w", topic, err)
	}
	ask := &kafka.ListOffsetsRequest{Topics: map[string][]kafka.OffsetRequest{}}
	for _, t := range meta.Topics {
		for _, p := range t.Partitions {
			ask.Topics[topic] = append(ask.Topics[topic], kafka.LastOffsetOf(p.ID))
		}
	}
	if len(ask.Topics[topic]) == 0 {
		return map[int]int64{}, nil
	}
	answer, err := client.ListOffsets(ctx, ask)
	if err != nil {
		return nil, fmt.Errorf("ask for the ends of %s: %w", topic, err)
	}
	ends := map[int]int64{}
	for _, p := range answer.Topics[topic] {
		if p.Error != nil {
			return nil, fmt.Errorf("ask for the end of %s/%d: %w", topic, p.Partition, p.Error)
		}
		ends[p.Partition] = p.LastOffset
	}
	return ends, nil
}
