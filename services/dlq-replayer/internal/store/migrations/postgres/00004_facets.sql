-- +goose Up

-- Which groups, topics, types and kinds of error have ever met in a letter: a filter by some that never met is answered
-- without looking for it among all letters. A few dozen rows.
CREATE TABLE facets (
    consumer_group text NOT NULL,
    topic          text NOT NULL,
    event_type     text NOT NULL,
    error_kind     text NOT NULL,
    PRIMARY KEY (consumer_group, topic, event_type, error_kind)
);
INSERT INTO facets SELECT DISTINCT consumer_group, topic, event_type, error_kind FROM letters;

-- +goose Down
DROP TABLE facets;
