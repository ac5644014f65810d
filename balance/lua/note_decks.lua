-- Notes the decks that a process prices by: what a deck was noted for stays, so
-- that every process and every replay prices a record alike (rule 7).
-- KEYS: decks
-- ARGV: clock (us), whether decks that are valid already may be added (0 | 1),
--       per deck: version, valid_from (us), valid_from and id for people
-- Returns: {'LATE', version} and nothing is noted | {'OK', version, noted text, ...} all that are
local have, first, new = redis.call('HGETALL', KEYS[1]), true, {}
local noted = {}
for i = 1, #have, 2 do noted[have[i]], first = true, false end
for i = 3, #ARGV, 3 do
  if not noted[ARGV[i]] then
    local late = tonumber(ARGV[i + 1]) <= tonumber(ARGV[1])
    if late and not first and ARGV[2] == '0' then return { 'LATE', ARGV[i] } end
    new[#new + 1], new[#new + 2] = ARGV[i], ARGV[i + 2]
  end
end
if #new > 0 then redis.call('HSET', KEYS[1], unpack(new)) end
have = redis.call('HGETALL', KEYS[1])
return { 'OK', unpack(have) }
