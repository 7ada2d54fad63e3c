package a

import (
	_ "github.com/gin-gonic/gin/binding"
)
