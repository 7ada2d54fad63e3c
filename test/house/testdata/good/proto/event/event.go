package event

import (
	_ "google.golang.org/protobuf/proto"
)
