-- Settle deliveries. Who has lost one changes nothing: its tag is not in unacked any more.
--
-- ARGV[3...] of each delivery: kind, tag, queue, and
--          "ack"      nothing more
--          "requeue"  a delay in microseconds
--          "move"     how many messages, and seven arguments of each: see routing.lua
--          "dead"     as "move"; before, the queue's dead-letter queue is made if there is none
-- Returns  {"settled", receipt, ...}: 1 where it was ours, 0 where it was lost
--          {"refused", queue}: that queue does not keep the priority of a message; nothing was settled
--          {"unroutable", number, "exchange" or "queue"}: the delivery (from 1) that cannot be moved; nothing was settled
--          {"failed", text}: Redis would not store a message; what was settled before is, the rest is still held

begin()
local moment = now()
local deliveries = {}

local function declare_dead(queue)
  local dead = queue .. '.dead'
  if call('HEXISTS', QUEUES, dead) == 0 then
    call('HSET', QUEUES, dead, call('HGET', QUEUES, queue) or '1 {}')
    call('HSETNX', EXCHANGES, dead, 'direct')
    local member = dead .. SEPARATOR .. SEPARATOR .. dead
    call('SADD', PREFIX .. '_kombu.binding.' .. dead, member)
    call('SADD', PREFIX .. '_kombu.binding_permanent.' .. dead, member)
    wake(dead)
  end
end

local at = 3
while at <= #ARGV do
  local one = { kind = ARGV[at], tag = ARGV[at + 1], queue = ARGV[at + 2] }
  at = at + 3
  if one.kind == 'requeue' then
    one.delay = tonumber(ARGV[at])
    at = at + 1
  elseif one.kind ~= 'ack' then
    one.count = tonumber(ARGV[at])
    one.start = at + 1
    at = one.start + one.count * FIELDS
  end
  deliveries[#deliveries + 1] = one
end

for number, one in ipairs(deliveries) do
  if one.count and call('HEXISTS', UNACKED, one.tag) == 1 then
    if one.kind == 'dead' then
      declare_dead(one.queue)
    end
    local found, refusing = routes(one.start, one.count)
    if not found then
      return { 'refused', refusing }
    end
    for _, queues in ipairs(found) do
      if type(queues) == 'string' then
        return { 'unroutable', number, queues }
      end
    end
    one.found = found
  end
end

local receipts = { 'settled' }
local gone = {}

local function forget(one)
  if call('HDEL', UNACKED, one.tag) == 1 then
    receipts[one.number + 1] = 1
  end
  local tags = gone[one.queue]
  if not tags then
    tags = {}
    gone[one.queue] = tags
  end
  tags[#tags + 1] = one.tag
end

local function clean()
  for queue, tags in pairs(gone) do
    in_runs('ZREM', INDEX, tags)
    in_runs('ZREM', held_of(queue), tags)
  end
end

local woken = {}
-- the last first: what goes back to the head of its list stands there in the order in which it was taken
for number = #deliveries, 1, -1 do
  local one = deliveries[number]
  one.number = number
  receipts[number + 1] = 0
  if one.kind == 'requeue' then
    local kept = call('HGET', UNACKED, one.tag)
    if kept then
      local tail = tail_of(one.queue)
      if one.delay > 0 then
        delay(one.queue, sub(one.tag, -1), returned(envelope_in(kept, tail), 0), moment + one.delay)
        forget(one)
      else
        if put_back(one.queue, one.tag, kept, tail, 0) then
          woken[one.queue] = true
        end
        receipts[number + 1] = 1
      end
    end
  elseif one.kind == 'ack' then
    forget(one)
  end
end
for number, one in ipairs(deliveries) do
  if one.found then
    local stored, failed = store(one.start, one.found, moment)
    for _, receipt in ipairs(stored or { failed.err }) do
      if receipt ~= '' then
        clean()
        return { 'failed', receipt }
      end
    end
    forget(one)
  end
end
clean()
for queue in pairs(woken) do
  wake(queue)
end
return receipts
