-- Notes the decks, or the mapping, that a process works by: what was noted stays,
-- so that every process and every replay takes a record for the same (rule 7).
-- KEYS: decks, or mappings
-- ARGV: the latest beginning (us) that is too late to be added ('any': nothing is added), oldest time (us) that is still read,
--       per version: its name, when it begins (us), the same and what it is for people. After a space in the
--       name stands whose version it is: one follows another of the same
-- Returns: {'OK'} | and nothing is noted: {'MISSING', name, noted text} of the oldest | {'LATE', name}
local have, noted, known, loaded, new = redis.call('HGETALL', KEYS[1]), {}, {}, {}, {}
for i = 1, #have, 2 do
  known[have[i]] = true
  noted[#noted + 1] = {
    name = have[i], of = string.match(have[i], ' (.*)$') or '', text = have[i + 1],
    from = tonumber(string.match(have[i + 1], '^-?%d+')),
  }
end
for i = 3, #ARGV, 3 do loaded[ARGV[i]] = true end
table.sort(noted, function(a, b) return a.from < b.from end)
local followed, missing = {}, nil
for i = #noted, 1, -1 do
  local v = noted[i]
  local needed = not followed[v.of] or followed[v.of] > tonumber(ARGV[2])
  followed[v.of] = v.from
  if needed and not loaded[v.name] then missing = v end
end
if missing then return { 'MISSING', missing.name, missing.text } end
for i = 3, #ARGV, 3 do
  if not known[ARGV[i]] then
    if ARGV[1] == 'any' or #noted > 0 and tonumber(ARGV[i + 1]) <= tonumber(ARGV[1]) then return { 'LATE', ARGV[i] } end
    new[#new + 1] = i
  end
end
for _, i in ipairs(new) do redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1] .. ' ' .. ARGV[i + 2]) end
return { 'OK' }
