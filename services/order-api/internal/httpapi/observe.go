package httpapi

import (
	"strings"

	"github.com/gin-gonic/gin"
)

// observe measures and traces every answer, by the route's pattern.
func (s *Server) observe(c *gin.Context) {
	arrived := s.edge.Arrive(c.Request.Context(), c.Request.Method, c.Request.Header)
	c.Request = c.Request.WithContext(arrived.Context)
	defer func() { // also where a handler cuts the connection off
		stream := strings.HasPrefix(c.Writer.Header().Get("Content-Type"), "text/event-stream")
		arrived.Leave(c.FullPath(), c.Writer.Status(), stream)
	}()
	c.Next()
}
