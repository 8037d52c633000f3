-- Make exchanges, queues and bindings, or check that they are there. What exists is never altered.
--
-- ARGV[3]  "active" or "passive"
-- ARGV[4]  how many exchanges: name, type of each
-- then     how many queues: name, declaration of each (see KEYS[3])
-- then     how many bindings: exchange, key, pattern (kombu's regular expression, "" but for topics), queue of each
-- Returns  {"declared"}, or what is wrong, and nothing was made:
--          {"exchange", name, type it has} {"queue", name, declaration it has}
--          {"no exchange", name} {"no queue", name} {"no binding", exchange, key, queue}

local at = 4
local function read(width)
  local rows = {}
  local count = tonumber(ARGV[at])
  at = at + 1
  for _ = 1, count do
    rows[#rows + 1] = { unpack(ARGV, at, at + width - 1) }
    at = at + width
  end
  return rows
end
local exchanges, queues, bindings = read(2), read(2), read(4)
local active = ARGV[3] == 'active'
local coming = { exchange = {}, queue = {} }

for _, one in ipairs(exchanges) do
  local kind = call('HGET', EXCHANGES, one[1])
  if kind and kind ~= one[2] then
    return { 'exchange', one[1], kind }
  elseif not kind and not active then
    return { 'no exchange', one[1] }
  end
  coming.exchange[one[1]] = true
end
for _, one in ipairs(queues) do
  local declared = call('HGET', QUEUES, one[1])
  if declared and declared ~= one[2] then
    return { 'queue', one[1], declared }
  elseif not declared and not active then
    return { 'no queue', one[1] }
  end
  coming.queue[one[1]] = true
end
for _, one in ipairs(bindings) do
  local exchange, key, pattern, queue = unpack(one)
  if not coming.exchange[exchange] and call('HEXISTS', EXCHANGES, exchange) == 0 then
    return { 'no exchange', exchange }
  elseif not coming.queue[queue] and call('HEXISTS', QUEUES, queue) == 0 then
    return { 'no queue', queue }
  elseif not active then
    local member = key .. SEPARATOR .. pattern .. SEPARATOR .. queue
    if call('SISMEMBER', PREFIX .. '_kombu.binding.' .. exchange, member) == 0 then
      return { 'no binding', exchange, key, queue }
    end
  end
end
if not active then
  return { 'declared' }
end

for _, one in ipairs(exchanges) do
  call('HSETNX', EXCHANGES, one[1], one[2])
end
for _, one in ipairs(queues) do
  if call('HSETNX', QUEUES, one[1], one[2]) == 1 then
    wake(one[1])
  end
end
for _, one in ipairs(bindings) do
  local exchange, key, pattern, queue = unpack(one)
  local member = key .. SEPARATOR .. pattern .. SEPARATOR .. queue
  call('SADD', PREFIX .. '_kombu.binding.' .. exchange, member)
  call('SADD', PREFIX .. '_kombu.binding_permanent.' .. exchange, member) -- kombu's sweep leaves it alone
end
return { 'declared' }
