-- struct.unpack of Redis for little-endian doubles (d) and uint16 (H), in plain Lua: normal numbers and zero alone.
local struct = {}
function struct.unpack(format, bytes, at)
  if not string.match(format, '^<[dH]+$') then error('struct.unpack: format ' .. format .. ' is not known here') end
  local values = {}
  for kind in string.gmatch(format, '[dH]') do
    if kind == 'H' then
      local low, high = string.byte(bytes, at, at + 1)
      values[#values + 1], at = low + 256 * high, at + 2
    else
      local b1, b2, b3, b4, b5, b6, b7, b8 = string.byte(bytes, at, at + 7)
      local exponent = (b8 % 128) * 16 + math.floor(b7 / 16)
      local fraction = (((((b7 % 16) * 256 + b6) * 256 + b5) * 256 + b4) * 256 + b3) * 65536 + b2 * 256 + b1
      local value = 0
      if exponent > 0 then value = (1 + fraction / 4503599627370496) * 2 ^ (exponent - 1023) end
      if b8 >= 128 then value = -value end
      values[#values + 1], at = value, at + 8
    end
  end
  values[#values + 1] = at
  return unpack(values)
end
