-- Route and store messages.
--
-- ARGV[3]  "store", or "check" to write nothing
-- ARGV[4]  how many messages; seven arguments each follow: see routing.lua
-- Returns  {"refused", queue} if that queue does not keep a priority; nothing was written
--          {"stored"} if all are, else {"stored", receipt, ...}, one a message: see store() in routing.lua

local count = tonumber(ARGV[4])
local found, refusing = routes(5, count)
if not found then
  return { 'refused', refusing }
end
if ARGV[3] == 'check' then
  return { 'stored' }
end
local receipts, failed = store(5, found, now())
if failed then
  return failed
end
for number = 1, count do
  if receipts[number] ~= '' then
    return { 'stored', unpack(receipts) }
  end
end
return { 'stored' }
