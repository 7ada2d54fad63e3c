// Package classic is the order service as it is usually joined from these libraries, written out faithfully to be measured
// against: a lock in Redis for each sku, stock pre-deducted by Lua under it, one GORM transaction for each order, and the
// event sent to Kafka before the answer leaves, all while the lock is held.
//
// Where such code differs, this does what is most often written: a lock that is taken is tried again after a short random
// pause; the writer is kafka-go's with acks from all and a BatchTimeout of 10 ms, which is what its users advise each other to
// set, for a synchronous send waits that long for company (a second by default, which would be one order a second and sku).
// Config.Prompt leaves that wait out, so that nobody can say the design was made slow.
//
// It is not to be copied. It loses an event when the process dies between the commit and the send, leaks a unit when it
// dies between the script and the commit, and its lock outlives nobody but also fences nobody.
package classic

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"
	"github.com/segmentio/kafka-go"
	"github.com/spf13/cobra"
	"gorm.io/driver/postgres"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"
)

// Config says where its servers are.
type Config struct {
	Addr, DSN, Redis string
	Brokers          []string
	Topic            string
	Prompt           bool // send each event at once
}

// Command is the program.
func Command() *cobra.Command {
	return &cobra.Command{
		Use: "classic ADDR DSN REDIS BROKERS TOPIC usual|prompt", Short: "Serves the usual design", Args: cobra.ExactArgs(6), SilenceUsage: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			return Serve(cmd.Context(), Config{
				Addr: args[0], DSN: args[1], Redis: args[2], Brokers: strings.Split(args[3], ","), Topic: args[4], Prompt: args[5] == "prompt",
			}, 100, 1_000_000)
		},
	}
}

type order struct {
	ID         string `gorm:"primaryKey;type:uuid"`
	UserID     string `gorm:"index"`
	Status     string
	TotalCents int64
	CreatedAt  time.Time
}

type orderItem struct {
	ID       uint   `gorm:"primaryKey"`
	OrderID  string `gorm:"index;type:uuid"`
	SkuID    string
	Quantity int64
}

type stock struct {
	SkuID     string `gorm:"primaryKey"`
	Remaining int64
}

const (
	lockTime      = 10 * time.Second
	lockPauseMin  = 10 * time.Millisecond
	lockPauseMost = 50 * time.Millisecond
)

var errSoldOut = errors.New("sold out")

// take lowers the stock under the lock.
var take = redis.NewScript(`
local left = tonumber(redis.call('GET', KEYS[1]) or '0')
if left < tonumber(ARGV[1]) then return -1 end
return redis.call('DECRBY', KEYS[1], ARGV[1])
`)

// unlock ends the lock if it is still the caller's.
var unlock = redis.NewScript(`if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0`)

type service struct {
	name   string // what its keys in Redis begin with
	db     *gorm.DB
	redis  *redis.Client
	writer *kafka.Writer
}

// Serve makes its tables with units of each of skus, and serves until ctx ends.
func Serve(ctx context.Context, cfg Config, skus, units int) error {
	gin.SetMode(gin.ReleaseMode)
	db, err := gorm.Open(postgres.Open(cfg.DSN), &gorm.Config{Logger: logger.Discard})
	if err != nil {
		return fmt.Errorf("open %w", err)
	}
	if err := db.AutoMigrate(&order{}, &orderItem{}, &stock{}); err != nil {
		return fmt.Errorf("make tables: %w", err)
	}
	pool, err := db.DB()
	if err != nil {
		return err
	}
	pool.SetMaxOpenConns(64)
	pool.SetMaxIdleConns(64)
	s := service{cfg.Topic, db, redis.NewClient(&redis.Options{Addr: cfg.Redis}), &kafka.Writer{
		Addr: kafka.TCP(cfg.Brokers...), Topic: cfg.Topic, RequiredAcks: kafka.RequireAll, BatchTimeout: 10 * time.Millisecond,
		Balancer: &kafka.Hash{},
	}}
	if cfg.Prompt {
		s.writer.BatchSize = 1
	}
	made, err := (&kafka.Client{Addr: kafka.TCP(cfg.Brokers...)}).CreateTopics(ctx, &kafka.CreateTopicsRequest{
		Topics: []kafka.TopicConfig{{Topic: cfg.Topic, NumPartitions: 4, ReplicationFactor: 1}},
	})
	if err == nil {
		err = made.Errors[cfg.Topic]
	}
	if err != nil {
		return fmt.Errorf("make topic %s: %w", cfg.Topic, err)
	}
	rows := make([]stock, skus)
	for i := range rows {
		rows[i] = stock{fmt.Sprint("sku-", i), int64(units)}
		if err := s.redis.Set(ctx, s.name+":stock:"+rows[i].SkuID, units, 0).Err(); err != nil {
			return fmt.Errorf("set stock: %w", err)
		}
	}
	if err := db.CreateInBatches(rows, 500).Error; err != nil {
		return fmt.Errorf("stock: %w", err)
	}
	e := gin.New()
	e.POST("/api/v1/orders", s.place)
	srv := &http.Server{Handler: e, ReadHeaderTimeout: 5 * time.Second}
	var lc net.ListenConfig
	listener, err := lc.Listen(ctx, "tcp", cfg.Addr)
	if err != nil {
		return err
	}
	context.AfterFunc(ctx, func() { _ = srv.Close() })
	if err := srv.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return errors.Join(s.writer.Close(), s.redis.Close(), pool.Close())
}

type placing struct {
	Items []struct {
		SkuID    string `binding:"required" json:"skuId"`
		Quantity int64  `binding:"required" json:"quantity"`
	} `binding:"required" json:"items"`
}

func (s service) place(c *gin.Context) {
	var in placing
	if err := c.ShouldBindJSON(&in); err != nil || len(in.Items) != 1 {
		c.JSON(http.StatusUnprocessableEntity, gin.H{"error": "one item"})
		return
	}
	o := order{ID: uuid.NewString(), UserID: strings.TrimPrefix(c.GetHeader("Authorization"), "Bearer ")[:16], Status: "created", TotalCents: 450 * in.Items[0].Quantity}
	err := s.sell(c.Request.Context(), o, orderItem{OrderID: o.ID, SkuID: in.Items[0].SkuID, Quantity: in.Items[0].Quantity})
	switch {
	case errors.Is(err, errSoldOut):
		c.JSON(http.StatusConflict, gin.H{"error": "sold out"})
	case err != nil:
		c.JSON(http.StatusServiceUnavailable, gin.H{"error": err.Error()})
	default:
		c.JSON(http.StatusCreated, o)
	}
}

func (s service) sell(ctx context.Context, o order, line orderItem) (err error) {
	lock, token := s.name+":lock:"+line.SkuID, uuid.NewString()
	for ctx.Err() == nil {
		got, err := s.redis.SetNX(ctx, lock, token, lockTime).Result()
		if err != nil {
			return err
		}
		if got {
			defer func() {
				err = errors.Join(err, unlock.Run(context.WithoutCancel(ctx), s.redis, []string{lock}, token).Err())
			}()
			return s.locked(ctx, o, line)
		}
		<-time.After(lockPauseMin + rand.N(lockPauseMost-lockPauseMin))
	}
	return ctx.Err()
}

func (s service) locked(ctx context.Context, o order, line orderItem) error {
	left, err := take.Run(ctx, s.redis, []string{s.name + ":stock:" + line.SkuID}, line.Quantity).Int64()
	if err != nil {
		return err
	}
	if left < 0 {
		return errSoldOut
	}
	err = s.db.WithContext(ctx).Transaction(func(tx *gorm.DB) error {
		if err := tx.Create(&o).Error; err != nil {
			return err
		}
		if err := tx.Create(&line).Error; err != nil {
			return err
		}
		done := tx.Model(&stock{}).Where("sku_id = ? AND remaining >= ?", line.SkuID, line.Quantity).
			Update("remaining", gorm.Expr("remaining - ?", line.Quantity))
		if done.Error == nil && done.RowsAffected == 0 {
			return errSoldOut
		}
		return done.Error
	})
	if err != nil {
		return errors.Join(err, s.redis.IncrBy(ctx, s.name+":stock:"+line.SkuID, line.Quantity).Err())
	}
	event, err := json.Marshal(o)
	if err != nil {
		return err
	}
	return s.writer.WriteMessages(ctx, kafka.Message{Key: []byte(o.ID), Value: event})
}
