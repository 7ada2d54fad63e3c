package httpapi

import (
	_ "github.com/gin-gonic/gin"
	_ "gorm.io/gorm/clause"
)
