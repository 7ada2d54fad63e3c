package httpapi

import (
	_ "github.com/gin-gonic/gin"
)
