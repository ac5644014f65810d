-- Notes the decks that a process prices by: what a deck was noted for stays, so
-- that every process and every replay prices a record alike (rule 7).
-- KEYS: decks
-- ARGV: the latest valid_from (us) that is too late to be added, oldest answer time (us) that is still read,
--       per deck: version, valid_from (us), valid_from and id for people
-- Returns: {'OK'} | and nothing is noted: {'LATE', version} | {'MISSING', version, noted text}
local have, noted, loaded, new = redis.call('HGETALL', KEYS[1]), {}, {}, {}
local known = {}
for i = 1, #have, 2 do
  known[have[i]] = true
  noted[#noted + 1] = { version = have[i], text = have[i + 1], from = tonumber(string.match(have[i + 1], '^-?%d+')) }
end
for i = 3, #ARGV, 3 do
  loaded[ARGV[i]] = true
  if not known[ARGV[i]] then
    if #noted > 0 and tonumber(ARGV[i + 1]) <= tonumber(ARGV[1]) then return { 'LATE', ARGV[i] } end
    new[#new + 1], new[#new + 2] = ARGV[i], ARGV[i + 1] .. ' ' .. ARGV[i + 2]
  end
end
table.sort(noted, function(a, b) return a.from < b.from end)
for i, d in ipairs(noted) do
  local successor = noted[i + 1]
  local needed = not successor or successor.from > tonumber(ARGV[2])
  if needed and not loaded[d.version] then return { 'MISSING', d.version, d.text } end
end
if #new > 0 then redis.call('HSET', KEYS[1], unpack(new)) end
return { 'OK' }
