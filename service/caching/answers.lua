-- Answers in Redis, within a bound of bytes. One call is one transaction.
--
-- KEYS[1] begins all keys, as `tandem:cache:`. ARGV is the verb and what it takes.
--
--   answer:KEY  string  an answer; Redis drops it when its time is over
--   used        zset    by key, when it was last asked for
--   sizes       hash    by key, the bytes that it counts for, until it is dropped here
--   bytes       string  the sum of the sizes

local call, verbs = redis.call, {}
local answer, used = KEYS[1] .. 'answer:', KEYS[1] .. 'used'
local sizes, bytes = KEYS[1] .. 'sizes', KEYS[1] .. 'bytes'

local function now()
  local time = call('TIME')
  return string.format('%.6f', time[1] + time[2] / 1e6)
end

local function drop(key)
  call('DEL', answer .. key)
  call('DECRBY', bytes, call('HGET', sizes, key) or 0)
  call('HDEL', sizes, key)
  call('ZREM', used, key)
end

local function total()
  return tonumber(call('GET', bytes) or 0)
end

-- Returns the answer and the milliseconds that it is still good for.
function verbs.get(key)
  local body = call('GET', answer .. key)

  if not body then
    return false
  end

  -- A full Redis refuses to note that; the answer is there all the same.
  redis.pcall('ZADD', used, 'XX', now(), key)
  return {body, call('PTTL', answer .. key)}
end

function verbs.put(key, body, milliseconds, size, most_bytes)
  -- First what a full Redis refuses, and the script with it: jobs need the memory.
  call('INCRBY', bytes, size - (call('HGET', sizes, key) or 0))
  call('HSET', sizes, key, size)
  call('ZADD', used, now(), key)
  call('SET', answer .. key, body, 'PX', milliseconds)

  while total() > tonumber(most_bytes) do
    local oldest = call('ZRANGE', used, 0, 0)[1]

    if oldest == key then
      -- The others are gone without us: somebody deleted the list of them.
      call('SET', bytes, size)
      break
    end

    drop(oldest)
  end

  return 1
end

function verbs.figures()
  return {call('ZCARD', used), total()}
end

return verbs[ARGV[1]](unpack(ARGV, 2))
