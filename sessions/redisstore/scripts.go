package redisstore

import "github.com/redis/go-redis/v9"

// The scripts announce a write in the same step, so that no write goes unannounced. A channel is not a key: in a
// cluster every node passes announcements on to all others.

// putScript writes ARGV[1], for ARGV[2] milliseconds unless that is 0, and announces ARGV[4] on the channel ARGV[3].
var putScript = redis.NewScript(`
if ARGV[2] == '0' then
	redis.call('SET', KEYS[1], ARGV[1])
else
	redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
end
redis.call('PUBLISH', ARGV[3], ARGV[4])
return 1
`)

// replaceScript does the same with ARGV[2] to ARGV[5], or deletes the record if ARGV[2] is empty, provided
// that the record has the version ARGV[1]; no record has the empty one. It returns whether it did. A record that has
// the new version already was written by an earlier attempt, whose answer was lost.
var replaceScript = redis.NewScript(`
local version = redis.call('GETRANGE', KEYS[1], 0, 7)
if ARGV[2] ~= '' and version == string.sub(ARGV[2], 1, 8) then
	return 1
end
if version ~= ARGV[1] then
	return 0
end
if ARGV[2] == '' then
	redis.call('DEL', KEYS[1])
	return 1
end
if ARGV[3] == '0' then
	redis.call('SET', KEYS[1], ARGV[2])
else
	redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
end
redis.call('PUBLISH', ARGV[4], ARGV[5])
return 1
`)
