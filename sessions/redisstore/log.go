package redisstore

import (
	"context"
	"fmt"

	"github.com/redis/go-redis/v9"
)

// LogClient hands what the client library has to say to write, which may be called by several goroutines at once. What
// matters is in the errors of the calls. By default the library writes to the standard error; it has one logger
// for the whole process.
func LogClient(write func(text string)) { redis.SetLogger(clientLog(write)) }

type clientLog func(text string)

// Printf is what the library calls.
func (l clientLog) Printf(_ context.Context, format string, args ...any) {
	l(fmt.Sprintf(format, args...))
}
