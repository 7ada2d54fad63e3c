package httpapi

import (
	"net/http"

	"github.com/gin-gonic/gin"
)

// Echo is a door that reads an order and writes it back, and does nothing else: as fast as orders could be answered if
// taking them cost nothing. `make bench` measures the real door against it. Behind the middleware it asks for a token
// and counts and writes the log as the real door does; bare it does not.
func Echo(cfg Config, bare bool) http.Handler {
	e, s := router(), &Server{Config: cfg, edge: cfg.Edge}
	api := e.Group("/api/v1")
	if !bare {
		api.Use(s.requestID, s.observe, s.recover, s.accessLog, s.authenticate)
	}
	api.POST("/orders", func(c *gin.Context) {
		var in placeRequest
		if err := read(c, &in); err != nil {
			s.fail(c, err)
			return
		}
		c.JSON(http.StatusCreated, in)
	})
	return e
}
