-- Where messages go, and how they are stored; for the scripts that publish. A message is seven arguments:
--
--   exchange, routing key, level, due ("" or microseconds), mandatory ("1" or "0"), delivery tag,
--   the envelope after its delivery tag

local FIELDS = 7
local tables, types, priorities = {}, {}, {}

local function split(key)
  local words, start = {}, 1
  while true do
    local dot = find(key, '.', start, true)
    words[#words + 1] = sub(key, start, (dot or 0) - 1)
    if not dot then
      return words
    end
    start = dot + 1
  end
end

-- whether a topic's pattern, from its word p on, takes a key from its word k on
local function takes(pattern, key, p, k)
  local word = pattern[p]
  if not word then
    return not key[k]
  end
  if word == '#' then
    for from = k, #key + 1 do
      if takes(pattern, key, p + 1, from) then
        return true
      end
    end
    return false
  end
  if not key[k] or (word ~= '*' and word ~= key[k]) then
    return false
  end
  return takes(pattern, key, p + 1, k + 1)
end

local function binding_table(exchange)
  local found = tables[exchange]
  if not found then
    found = {}
    for _, member in ipairs(call('SMEMBERS', PREFIX .. '_kombu.binding.' .. exchange)) do
      local first, last = find(member, SEPARATOR, 1, true)
      local _, second = find(member, SEPARATOR, (last or 0) + 1, true)
      if first and second then
        found[#found + 1] = { key = sub(member, 1, first - 1), queue = sub(member, second + 1) }
      end
    end
    table.sort(found, function(one, other) return one.queue < other.queue end)
    tables[exchange] = found
  end
  return found
end

local function exists(queue)
  local known = priorities[queue]
  if known == nil then
    known = levels_of(queue) or false
    priorities[queue] = known
  end
  return known
end

-- the queues that take a message, each once; nil if there is no such exchange
local function route(exchange, key)
  if exchange == '' then
    return exists(key) and { key } or {}
  end
  local kind = types[exchange]
  if kind == nil then
    kind = call('HGET', EXCHANGES, exchange)
    types[exchange] = kind
  end
  if not kind then
    return nil
  end
  local queues, seen = {}, {}
  local words = kind == 'topic' and split(key)
  for _, binding in ipairs(binding_table(exchange)) do
    local bound = kind == 'fanout' or (kind == 'direct' and binding.key == key)
      or (kind == 'topic' and takes(split(binding.key), words, 1, 1))
    if bound and not seen[binding.queue] and exists(binding.queue) then
      seen[binding.queue] = true
      queues[#queues + 1] = binding.queue
    end
  end
  return queues
end

-- Route `count` messages that stand in ARGV from `start` on; writes nothing.
-- Returns the queues of each ("exchange" or "queue" where it is not routed), or nil and the name of a queue that does
-- not keep the priority of one of them.
local function routes(start, count)
  local found = {}
  for number = 1, count do
    local at = start + (number - 1) * FIELDS
    local level = tonumber(ARGV[at + 2])
    local queues = route(ARGV[at], ARGV[at + 1])
    for _, queue in ipairs(queues or {}) do
      if level > 0 and level >= exists(queue) then
        return nil, queue
      end
    end
    if not queues then
      found[number] = 'exchange'
    elseif #queues == 0 and ARGV[at + 4] == '1' then
      found[number] = 'queue'
    else
      found[number] = queues
    end
  end
  return found
end

-- Store routed messages. Returns for each "" if it is stored, "exchange" or "queue" if it is not routed, or what Redis
-- says against it; nil and an error if Redis takes no messages at all.
local function store(start, found, moment)
  local receipts, lists, order = {}, {}, {}
  for number, queues in ipairs(found) do
    receipts[number] = ''
    if type(queues) == 'string' then
      receipts[number] = queues
    else
      local at = start + (number - 1) * FIELDS
      local level, due = ARGV[at + 2], tonumber(ARGV[at + 3])
      for place, queue in ipairs(queues) do
        local tag = place == 1 and ARGV[at + 5] or ARGV[at + 5] .. '-' .. place -- kombu takes a tag for one hand-over
        local envelope = '{"properties":{"delivery_tag":"' .. tag .. '"' .. ARGV[at + 6]
        if due and due > moment then
          delay(queue, level, envelope, due)
        else
          local list = list_of(queue, level)
          local run = lists[list]
          if not run then
            run = { queue = queue, envelopes = {}, numbers = {} }
            lists[list] = run
            order[#order + 1] = list
          end
          run.envelopes[#run.envelopes + 1] = envelope
          run.numbers[#run.numbers + 1] = number
        end
      end
    end
  end
  for _, list in ipairs(order) do
    local run = lists[list]
    for from = 1, #run.envelopes, MOST do
      local to = math.min(from + MOST - 1, #run.envelopes)
      local length = redis.pcall('LPUSH', list, unpack(run.envelopes, from, to))
      if type(length) == 'table' then
        if not find(length.err, 'WRONGTYPE', 1, true) and not find(length.err, 'OOM', 1, true) then
          return nil, length
        end
        for place = from, to do
          receipts[run.numbers[place]] = length.err .. ' (' .. list .. ')'
        end
      elseif length == to - from + 1 then
        wake(run.queue) -- the list was empty: somebody may sleep
      end
    end
  end
  return receipts
end
