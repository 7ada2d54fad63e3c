-- +goose Up

-- When the first of a group's dead letters came: asked every few seconds, answered by one entry.
CREATE INDEX letters_oldest ON letters (consumer_group, collected_at) WHERE state = 'dead';
-- Minutes are forgotten after a day, whatever their cause.
CREATE INDEX cause_minutes_by_time ON cause_minutes (minute);

-- +goose Down
DROP INDEX cause_minutes_by_time;
DROP INDEX letters_oldest;
