package httpapi

import (
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"strings"

	"github.com/gin-gonic/gin"
)

const maxBody = 64 << 10

// read decodes the body into out and complains about anything else in it.
func read(c *gin.Context, out any) error {
	media, _, err := mime.ParseMediaType(c.GetHeader("Content-Type"))
	if err != nil || media != "application/json" {
		return errMedia
	}
	return decode(c.Request.Body, out) // bounded already: see hold
}

// decode reads one JSON object. What is no JSON is malformed; JSON that does not fit is invalid and names its field.
func decode(r io.Reader, out any) error {
	d := json.NewDecoder(r)
	d.DisallowUnknownFields()
	if err := d.Decode(out); err != nil {
		return bodyError(err)
	}
	if _, more := d.Token(); !errors.Is(more, io.EOF) {
		var big *http.MaxBytesError
		if errors.As(more, &big) {
			return errTooLarge
		}
		return bodyError(errTrailing)
	}
	return nil
}

var errTrailing = errors.New("something follows the JSON object")

func bodyError(err error) error {
	var big *http.MaxBytesError
	var wrong *json.UnmarshalTypeError
	switch {
	case errors.As(err, &big):
		return errTooLarge
	case errors.As(err, &wrong):
		return invalid(wrong.Field, "must be "+kindOf(wrong))
	}
	if field, found := strings.CutPrefix(err.Error(), "json: unknown field "); found {
		return invalid(strings.Trim(field, `"`), "is not known here")
	}
	return malformed("the body must be one JSON object")
}

// kindOf is a type in the words of JSON.
func kindOf(e *json.UnmarshalTypeError) string {
	switch name := e.Type.String(); {
	case e.Type.Kind().String() == "struct":
		return "an object"
	case strings.HasPrefix(name, "[]"):
		return "a list"
	case strings.HasPrefix(name, "map"):
		return "an object of strings"
	case strings.HasPrefix(name, "int"):
		return "a whole number"
	default:
		return "a string"
	}
}

// limitOf reads ?limit=, 20 where there is none.
func limitOf(c *gin.Context) (int, error) {
	text, given := c.GetQuery("limit")
	if !given {
		return 20, nil
	}
	n := 0
	for _, r := range text {
		if r < '0' || r > '9' || n > 100 {
			n = -1
			break
		}
		n = n*10 + int(r-'0')
	}
	if n < 1 || n > 100 {
		return 0, invalid("limit", "must be a number from 1 to 100")
	}
	return n, nil
}
