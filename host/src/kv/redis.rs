//! A database of a Redis server, which a fleet shares. Each call is one script, so it is atomic, and what the namespaces
//! hold is counted there for all hosts alike. What is where in the database:
//!
//! ```text
//! pillarbox:value:KEY   the value
//! pillarbox:weight      for each key the octets it is counted with (hash)
//! pillarbox:expiry      the keys that expire, by when in milliseconds since 1970 (sorted set)
//! pillarbox:usage       octets in each namespace (hash)
//! ```
//!
//! The time is that of the Redis server, so that hosts whose clocks differ agree on what is over.

use super::{Answer, Clock, KvError, OpenError, Operation};
use crate::config::{Host, KvRedis};
use crate::file;
use crate::observe::{Trouble, chain};
use ::redis::aio::{ConnectionManager, ConnectionManagerConfig};
use ::redis::{
    Client, ConnectionAddr, ErrorKind, IntoConnectionInfo, RedisConnectionInfo, RedisError, Script, ServerErrorKind,
    TlsCertificates, Value,
};
use std::path::Path;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use std::{fmt, io};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

/// A database. Clones share its connection.
#[derive(Clone)]
pub(super) struct Redis(Arc<Inner>);

struct Inner {
    config: KvRedis,
    standing: Mutex<Standing>,
    timeout: Duration,
    clock: Clock,
    /// Whether the host's clock holds, and not the server's.
    own_clock: bool,
}

#[derive(Default)]
struct Standing {
    /// Made when it is needed, and let go when it failed: the files it is let in by are read anew then.
    connection: Option<ConnectionManager>,
    /// How many were let go.
    gone: u64,
    /// Why the last calls found it out of order.
    trouble: Trouble,
}

impl Redis {
    /// Reads the files that are named, to see whether they can be used. Nobody is connected to.
    pub(super) fn new(config: &KvRedis, timeout: Duration, clock: Clock) -> Result<Redis, OpenError> {
        client(config)?;
        let (config, standing) = (config.clone(), Mutex::default());
        Ok(Redis(Arc::new(Inner { config, standing, timeout, clock, own_clock: false })))
    }

    /// The same by the host's clock, which stands where a test sets it.
    #[cfg(test)]
    pub(super) fn by_own_clock(self) -> Redis {
        let mut inner = Arc::try_unwrap(self.0).unwrap_or_else(|_| panic!("it was shared already"));
        inner.own_clock = true;
        Redis(Arc::new(inner))
    }

    pub(super) fn now(&self) -> u64 {
        (self.0.clock)()
    }

    pub(super) async fn perform(&self, operation: Operation) -> Result<Answer, KvError> {
        let now = if self.0.own_clock { self.now().to_string() } else { String::new() };
        let gone = self.standing().gone;
        let answered = match timeout(self.0.timeout, self.call(&operation, &now)).await {
            Ok(Ok(answered)) => answered,
            // What the server refuses it refuses on another connection as well, unless that one leads to another server: one
            // that is no primary any more lets everybody stay who is connected.
            Ok(Err(error)) if refuses_everywhere(error.kind()) => return Err(self.fail(&error.to_string())),
            Ok(Err(error)) => {
                self.let_go(gone);
                return Err(self.fail(&error.to_string()));
            }
            Err(_) => {
                self.let_go(gone);
                return Err(self.fail("no answer in time"));
            }
        };
        if self.standing().trouble.ends() {
            tracing::info!(server = %self, "kv store is used again");
        }
        let answer = answer(&operation, answered);
        answer.ok_or_else(|| self.fail("an answer that is none"))?
    }

    async fn call(&self, operation: &Operation, now: &str) -> Result<Value, RedisError> {
        let mut connection = self.connection().await?;
        let (script, key) = match operation {
            Operation::Get { key } => (&*GET, key),
            Operation::Set { key, .. } => (&*SET, key),
            Operation::Unset { key } => (&*UNSET, key),
            Operation::Increment { key, .. } => (&*INCREMENT, key),
        };
        let mut call = script.prepare_invoke();
        call.key(format!("{PREFIX}value:{key}"));
        call.key(format!("{PREFIX}weight")).key(format!("{PREFIX}expiry")).key(format!("{PREFIX}usage"));
        call.arg(key).arg(now).arg(format!("{PREFIX}value:"));
        match operation {
            Operation::Get { .. } | Operation::Unset { .. } => {}
            Operation::Set { space, quota, value, ttl, .. } => {
                call.arg(space).arg(*quota).arg(millis(*ttl)).arg(&**value);
            }
            Operation::Increment { space, quota, by, ttl, .. } => {
                call.arg(space).arg(*quota).arg(millis(*ttl)).arg(*by);
            }
        }
        call.invoke_async(&mut connection).await
    }

    async fn connection(&self) -> Result<ConnectionManager, RedisError> {
        if let Some(connection) = &self.standing().connection {
            return Ok(connection.clone());
        }
        let config = self.0.config.clone();
        let client = spawn_blocking(move || client(&config)).await.map_err(io::Error::other)?;
        // One attempt: whoever calls next makes another.
        let settings = ConnectionManagerConfig::new()
            .set_number_of_retries(0)
            .set_connection_timeout(Some(self.0.timeout))
            .set_response_timeout(Some(self.0.timeout));
        let client = client.map_err(|error| io::Error::other(chain(&error)))?;
        let connection = ConnectionManager::new_lazy_with_config(client, settings)?;
        Ok(self.standing().connection.get_or_insert(connection).clone())
    }

    /// Lets the connection go that came after so many others, if nobody else did.
    fn let_go(&self, gone: u64) {
        let mut standing = self.standing();
        if standing.gone == gone {
            standing.connection = None;
            standing.gone += 1;
        }
    }

    /// The same trouble is said once.
    fn fail(&self, error: &str) -> KvError {
        if self.standing().trouble.is_news(error) {
            tracing::error!(server = %self, error, "kv store cannot be used");
        }
        KvError::Unavailable
    }

    fn standing(&self) -> MutexGuard<'_, Standing> {
        self.0.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Display for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.0.config.host, self.0.config.port)
    }
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Redis").field(&self.to_string()).finish()
    }
}

fn refuses_everywhere(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::Server(kind) if !matches!(kind, ServerErrorKind::ReadOnly | ServerErrorKind::MasterDown))
}

/// What connects, with what the files hold now.
fn client(config: &KvRedis) -> Result<Client, OpenError> {
    let unusable = |path: &Path| {
        let path = path.to_owned();
        move |source| OpenError::File { path, source }
    };
    let mut settings = RedisConnectionInfo::default().set_db(i64::from(config.database));
    if let Some(user) = &config.user {
        settings = settings.set_username(user);
    }
    if let Some(path) = &config.password_file {
        settings = settings.set_password(file::secret(path).map_err(|error| unusable(path)(error.into()))?);
    }
    // As the library wants it: an address of version 6 without brackets.
    let (port, host) = (
        config.port,
        match &config.host {
            Host::Name(name) => name.clone(),
            Host::Address(address) => address.to_string(),
        },
    );
    let address = match config.tls {
        true => ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None },
        false => ConnectionAddr::Tcp(host, port),
    };
    let authorities = config.authorities.as_deref();
    let path = authorities.unwrap_or(Path::new("the system's authorities"));
    let made = address.into_connection_info().map(|info| info.set_redis_settings(settings));
    let made = made.and_then(|info| match authorities {
        None => Client::open(info),
        Some(path) => {
            let trusted = TlsCertificates { client_tls: None, root_cert: Some(std::fs::read(path)?) };
            Client::build_with_tls(info, trusted)
        }
    });
    made.map_err(|error| unusable(path)(error.into()))
}

/// Time to live in milliseconds. What is longer than numbers in a script are exact is for ever: 285,000 years.
fn millis(ttl: u64) -> u64 {
    ttl.checked_mul(1000).filter(|ttl| *ttl < 9_000_000_000_000_000).unwrap_or_default()
}

/// What the script answered, in the words of the store; none where it is no answer to that.
fn answer(operation: &Operation, answered: Value) -> Option<Result<Answer, KvError>> {
    match (operation, answered) {
        (Operation::Get { .. }, Value::Nil) => Some(Ok(Answer::Value(None))),
        (Operation::Get { .. }, Value::Array(parts)) => {
            let [Value::BulkString(until), Value::BulkString(value)] = <[Value; 2]>::try_from(parts).ok()? else {
                return None;
            };
            let until = std::str::from_utf8(&until).ok()?.parse().ok()?;
            Some(Ok(Answer::Value(Some((until, value)))))
        }
        (Operation::Set { .. } | Operation::Unset { .. }, Value::Okay) => Some(Ok(Answer::Done)),
        (Operation::Increment { .. }, Value::BulkString(sum)) => {
            Some(Ok(Answer::Sum(std::str::from_utf8(&sum).ok()?.parse().ok()?)))
        }
        (_, Value::SimpleString(word)) => match &*word {
            "FULL" => Some(Err(KvError::Full)),
            "NOT-A-COUNTER" => Some(Err(KvError::NotACounter)),
            "OVERFLOW" => Some(Err(KvError::Overflow)),
            _ => None,
        },
        _ => None,
    }
}

/// How all keys of a database begin that are ours.
const PREFIX: &str = "pillarbox:";

static GET: LazyLock<Script> = LazyLock::new(|| script(GET_BODY));
static SET: LazyLock<Script> = LazyLock::new(|| script(SET_BODY));
static UNSET: LazyLock<Script> = LazyLock::new(|| script(UNSET_BODY));
static INCREMENT: LazyLock<Script> = LazyLock::new(|| script(INCREMENT_BODY));

fn script(body: &str) -> Script {
    Script::new(&format!("{COMMON}{body}"))
}

/// What every script begins with. Redis runs one script at a time.
const COMMON: &str = r"
local valuekey, weights, expiries, usage = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local key, now, prefix = ARGV[1], tonumber(ARGV[2]), ARGV[3]
if not now then
  local time = redis.call('TIME')
  now = time[1] * 1000 + math.floor(time[2] / 1000)
end

-- A namespace may lie in another, and each counts what it holds.
local function account(name, octets)
  local at = 0
  while true do
    at = string.find(name, '/', at + 1, true)
    if not at then return end
    local space = string.sub(name, 1, at)
    if redis.call('HINCRBY', usage, space, octets) <= 0 then redis.call('HDEL', usage, space) end
  end
end

local function drop(name)
  local weight = tonumber(redis.call('HGET', weights, name) or 0)
  if weight > 0 then
    redis.call('HDEL', weights, name)
    account(name, -weight)
  end
  redis.call('ZREM', expiries, name)
  redis.call('DEL', prefix .. name)
end

local function sweep(most)
  local over = redis.call('ZRANGEBYSCORE', expiries, '-inf', now, 'LIMIT', 0, most)
  for _, name in ipairs(over) do drop(name) end
  return #over == most
end

local function expiry()
  return tonumber(redis.call('ZSCORE', expiries, key) or 0)
end

local function fits(space, quota, after)
  local before = tonumber(redis.call('HGET', weights, key) or 0)
  local used = tonumber(redis.call('HGET', usage, space) or 0)
  return after <= before or used - before + after <= quota
end

-- What becomes no larger fits always.
local function put(space, quota, value, expires)
  local after = #key + #value
  if not fits(space, quota, after) then
    while sweep(1000) do end
    if not fits(space, quota, after) then return false end
  end
  drop(key)
  redis.call('SET', valuekey, value)
  redis.call('HSET', weights, key, after)
  account(key, after)
  if expires > 0 then
    redis.call('ZADD', expiries, string.format('%.0f', expires), key)
    -- Also where nobody writes any more.
    redis.call('PEXPIRE', valuekey, string.format('%.0f', math.max(expires - now, 1)))
  end
  return true
end
";

const GET_BODY: &str = r"
local expires = expiry()
if expires > 0 and expires <= now then return false end
local value = redis.call('GET', valuekey)
if not value then return false end
return {string.format('%.0f', expires), value}
";

const SET_BODY: &str = r"
sweep(100)
local ttl = tonumber(ARGV[6])
local expires = 0
if ttl > 0 then expires = now + ttl end
if put(ARGV[4], tonumber(ARGV[5]), ARGV[7], expires) then return redis.status_reply('OK') end
return redis.status_reply('FULL')
";

const UNSET_BODY: &str = r"
drop(key)
return redis.status_reply('OK')
";

/// Sums are made by Redis itself: numbers in a script are exact to 53 bits only.
const INCREMENT_BODY: &str = r"
sweep(100)
local ttl, by = tonumber(ARGV[6]), ARGV[7]
local expires = expiry()
if expires > 0 and expires <= now then
  drop(key)
end
local before = redis.call('GET', valuekey)
local sum
if before then
  local sign, digits = string.match(before, '^([+-]?)0*(%d+)$')
  if not digits then return redis.status_reply('NOT-A-COUNTER') end
  if sign == '+' or digits == '0' then sign = '' end
  redis.call('SET', valuekey, sign .. digits, 'KEEPTTL')
  local added = redis.pcall('INCRBY', valuekey, by)
  sum = redis.call('GET', valuekey)
  redis.call('SET', valuekey, before, 'KEEPTTL')
  if type(added) == 'table' and added.err then
    if string.find(added.err, 'overflow') then return redis.status_reply('OVERFLOW') end
    return redis.status_reply('NOT-A-COUNTER')
  end
else
  sum = by
  expires = 0
  if ttl > 0 then expires = now + ttl end
end
if put(ARGV[4], tonumber(ARGV[5]), sum, expires) then return sum end
return redis.status_reply('FULL')
";
