-- What a new owner must know of one shard and source: the mark and the outbox.
-- KEYS: marks, outbox   ARGV: source
-- Returns: mark, entry, ...
local all = redis.call('LRANGE', KEYS[2], 0, -1)
table.insert(all, 1, redis.call('HGET', KEYS[1], ARGV[1]) or '0 - -1 - 0')
return all
