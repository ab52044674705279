//! Redis: the connection, and the few scripts that are all we ask of it.
//!
//! A script is one turn of Redis, so two nodes never see half of each other's changes. Nothing here is believed: what comes back is
//! decoded or dropped.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use baton_signal_protocol::{PeerId, SwarmId, Ticket};
use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::cluster::ClusterClientBuilder;
use redis::cluster_async::ClusterConnection;
use redis::{
    AsyncConnectionConfig, Client, Cmd, ErrorKind, IntoConnectionInfo, ProtocolVersion, PushInfo,
    PushKind, RedisResult, ServerErrorKind, TlsCertificates, Value, cmd, from_redis_value,
};
use sha1::{Digest, Sha1};
use tokio::sync::Notify;

use crate::cluster::presence::{
    NODES, NodeId, PRESENCE_LEN, Presence, account, channel, keys, world,
};
use crate::names::{FINDS, LASTS};
use crate::ranking::{SAMPLE_MAX, Spot};

/// A connection to one Redis or to a Redis Cluster; cheap to clone.
#[derive(Clone)]
pub enum Store {
    One(MultiplexedConnection),
    Many(ClusterConnection),
}

/// What became of an attempt to enter a swarm.
#[derive(Debug, PartialEq, Eq)]
pub enum Entered {
    /// Done; in the place of that earlier presence, if there was one.
    Here(Option<Presence>),
    /// Not done: the same peer is here by a Join of the same second or a later one.
    Earlier(Presence),
    Full,
}

/// What became of an attempt to take a place in an address's account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opened {
    Taken,
    TooManyConnections,
    TooManySwarms,
}

/// A peer and what Redis holds of it; `None` if that is no presence.
pub type Found = (PeerId, Option<Presence>);

struct Script(&'static str);

impl Store {
    /// Connects. `pushes` gets what Redis says of itself; `lost` is told when a connection to one Redis ends. Of `rediss://`, `authority` (PEM) signed
    /// the certificate, or one of those whom browsers trust.
    pub async fn connect(
        urls: &[String],
        authority: Option<&[u8]>,
        pushes: impl Fn(PushInfo) -> Result<(), ()> + Clone + Send + Sync + 'static,
        lost: Arc<Notify>,
    ) -> RedisResult<Self> {
        let mut last = None;
        for url in urls {
            match Self::connect_by(url, urls, authority, pushes.clone(), lost.clone()).await {
                Ok(store) => return Ok(store),
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or_else(|| (ErrorKind::InvalidClientConfig, "no address").into()))
    }

    async fn connect_by(
        url: &str,
        all: &[String],
        authority: Option<&[u8]>,
        pushes: impl Fn(PushInfo) -> Result<(), ()> + Clone + Send + Sync + 'static,
        lost: Arc<Notify>,
    ) -> RedisResult<Self> {
        let info = url.into_connection_info()?;
        let settings = info
            .redis_settings()
            .clone()
            .set_protocol(ProtocolVersion::RESP3);
        let info = info.set_redis_settings(settings);
        let certificates = authority.map(|pem| TlsCertificates {
            client_tls: None,
            root_cert: Some(pem.to_vec()),
        });
        let client = match certificates.clone() {
            Some(certificates) => Client::build_with_tls(info, certificates)?,
            None => Client::open(info)?,
        };
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(PATIENCE))
            .set_response_timeout(Some(PATIENCE))
            .set_pipeline_buffer_size(PIPELINE)
            .set_push_sender({
                let pushes = pushes.clone();
                move |push: PushInfo| {
                    if push.kind == PushKind::Disconnection {
                        lost.notify_one();
                    }
                    pushes(push)
                }
            });
        let mut one = client
            .get_multiplexed_async_connection_with_config(&config)
            .await?;
        let about: String = cmd("INFO").arg("cluster").query_async(&mut one).await?;
        if !about.contains("cluster_enabled:1") {
            return Ok(Self::One(one));
        }
        let mut many = ClusterClientBuilder::new(all.iter().map(String::as_str));
        if let Some(certificates) = certificates {
            many = many.certs(certificates);
        }
        let many = many
            .use_protocol(ProtocolVersion::RESP3)
            .connection_timeout(PATIENCE)
            .response_timeout(PATIENCE)
            // It would go on asking for minutes; we carry on alone and come back.
            .overall_response_timeout(Some(PATIENCE * 2))
            .retries(2)
            .push_sender(pushes)
            .build()?
            .get_async_connection()
            .await?;
        Ok(Self::Many(many))
    }

    /// Letters to this node are pushed from here on.
    pub async fn subscribe(&self, node: &NodeId) -> RedisResult<()> {
        match self.clone() {
            Self::One(one) => {
                let mut one = one;
                let mut command = cmd("SSUBSCRIBE");
                command.arg(channel(node)).exec_async(&mut one).await
            }
            Self::Many(mut many) => many.ssubscribe(channel(node)).await,
        }
    }

    /// Hands a letter to a node; false if nobody listens there.
    pub async fn publish(&self, node: &NodeId, letter: &[u8]) -> RedisResult<bool> {
        let mut command = cmd("SPUBLISH");
        let heard = self.ask(command.arg(channel(node)).arg(letter)).await?;
        Ok(from_redis_value::<u64>(heard)? > 0)
    }

    /// Keeps this node's lease, and says whether it still had it, and who else has one.
    pub async fn lease(
        &self,
        node: &NodeId,
        lasts: Duration,
    ) -> RedisResult<(bool, HashSet<NodeId>)> {
        let answer = self
            .run(
                LEASE,
                &[NODES.to_vec()],
                &[node, lasts.as_millis().to_string().as_bytes()],
            )
            .await?;
        let mut answer = list(answer).into_iter();
        let had_it = answer.next().is_some_and(|it| it == b"1");
        Ok((had_it, answer.filter_map(|it| it.try_into().ok()).collect()))
    }

    /// Who has a lease.
    pub async fn who_lives(&self) -> RedisResult<HashSet<NodeId>> {
        let answer = self.run(LIVE, &[NODES.to_vec()], &[]).await?;
        let nodes = list(answer).into_iter();
        Ok(nodes.filter_map(|it| it.try_into().ok()).collect())
    }

    /// Gives the lease back: the node's peers are gone at once.
    pub async fn give_up(&self, node: &NodeId) -> RedisResult<()> {
        self.ask(cmd("ZREM").arg(NODES).arg(node)).await.map(drop)
    }

    /// Enters a peer, in the place of an earlier presence of its own; in that of a later one only if it hangs on `dead`.
    pub async fn enter(
        &self,
        swarm: &SwarmId,
        peer: &PeerId,
        presence: &Presence,
        peers_max: usize,
        dead: Option<NodeId>,
    ) -> RedisResult<Entered> {
        let (value, max, dead) = (
            presence.encode(),
            peers_max.to_string(),
            dead.unwrap_or_default(),
        );
        let arguments = [&peer[..], &value, KEPT_MS, max.as_bytes(), &dead];
        let answer = self
            .run(ENTER, &keys(swarm, &presence.spot), &arguments)
            .await?;
        let mut answer = list(answer).into_iter();
        let said = answer.next().unwrap_or_default();
        let old = answer.next().and_then(|bytes| Presence::decode(&bytes));
        Ok(match (said.as_slice(), old) {
            (b"full", _) => Entered::Full,
            (b"earlier", Some(old)) => Entered::Earlier(old),
            (_, old) => Entered::Here(old),
        })
    }

    /// Some peers of the swarm, from each of the cells around a spot and from the world; some may be in it twice.
    pub async fn sample(&self, swarm: &SwarmId, spot: &Spot) -> RedisResult<Vec<Found>> {
        let keys = keys(swarm, spot);
        let rest = SAMPLE_MAX - (keys.len() - 1) * PER_CELL;
        let (per_cell, rest) = (PER_CELL.to_string(), rest.to_string());
        let answer = self
            .run(SAMPLE, &keys, &[per_cell.as_bytes(), rest.as_bytes()])
            .await?;
        let answer = list(answer);
        let found = answer.chunks_exact(2).take(SAMPLE_MAX).filter_map(|pair| {
            let peer = pair[0].as_slice().try_into().ok()?;
            Some((peer, Presence::decode(&pair[1])))
        });
        Ok(found.collect())
    }

    /// The node where a peer is.
    pub async fn find(&self, swarm: &SwarmId, peer: &PeerId) -> RedisResult<Option<Presence>> {
        let value = self
            .ask(cmd("HGET").arg(world(swarm)).arg(peer.as_slice()))
            .await?;
        Ok(match value {
            Value::BulkString(bytes) if bytes.len() == PRESENCE_LEN => Presence::decode(&bytes),
            _ => None,
        })
    }

    /// Forgets a peer that was at `spot`, if it is still the one of that node; in the cells around `spot` at any rate.
    pub async fn forget(
        &self,
        swarm: &SwarmId,
        peer: &PeerId,
        spot: &Spot,
        node: &NodeId,
    ) -> RedisResult<()> {
        self.run(FORGET, &keys(swarm, spot), &[peer.as_slice(), node])
            .await
            .map(drop)
    }

    /// Forgets what is under a peer's name if it is no presence at all.
    pub async fn clear(&self, swarm: &SwarmId, peer: &PeerId) -> RedisResult<()> {
        self.run(CLEAR, &[world(swarm)], &[peer.as_slice()])
            .await
            .map(drop)
    }

    /// Counts a connection of an address, which other nodes' live connections count against too.
    pub async fn open(
        &self,
        spot: &Spot,
        connection: &[u8; 24],
        swarm: &SwarmId,
        (connections_max, swarms_max): (usize, usize),
        live: &HashSet<NodeId>,
    ) -> RedisResult<Opened> {
        let (connections, swarms) = (connections_max.to_string(), swarms_max.to_string());
        let mut arguments: Vec<&[u8]> = vec![
            connection,
            swarm,
            KEPT_MS,
            connections.as_bytes(),
            swarms.as_bytes(),
        ];
        arguments.extend(live.iter().map(|node| node.as_slice()));
        let answer = self.run(OPEN, &[account(spot.place)], &arguments).await?;
        Ok(match from_redis_value::<u8>(answer)? {
            1 => Opened::TooManyConnections,
            2 => Opened::TooManySwarms,
            _ => Opened::Taken,
        })
    }

    pub async fn close(&self, spot: &Spot, connection: &[u8; 24]) -> RedisResult<()> {
        let mut command = cmd("HDEL");
        command.arg(account(spot.place)).arg(connection.as_slice());
        self.ask(&command).await.map(drop)
    }

    /// Counts a question of an address's account; all of them are forgotten [`LASTS`] after the first.
    pub async fn count_question(&self, account: &[u8], field: &[u8]) -> RedisResult<u64> {
        let lasts = LASTS.as_millis().to_string();
        let answer = self
            .run(COUNT, &[account.to_vec()], &[field, lasts.as_bytes()])
            .await?;
        from_redis_value(answer).map_err(Into::into)
    }

    /// Takes a short name, unless somebody has it.
    pub async fn claim_name(
        &self,
        key: &[u8],
        owner: &[u8; 24],
        ticket: &Ticket,
    ) -> RedisResult<bool> {
        let (finds, lasts) = (FINDS.to_string(), LASTS.as_millis().to_string());
        let arguments = [owner.as_slice(), ticket, finds.as_bytes(), lasts.as_bytes()];
        let answer = self.run(CLAIM, &[key.to_vec()], &arguments).await?;
        from_redis_value(answer).map_err(Into::into)
    }

    /// The ticket of a short name, which may be found once less often now.
    pub async fn find_name(&self, key: &[u8]) -> RedisResult<Option<Ticket>> {
        let answer = self.run(FIND, &[key.to_vec()], &[]).await?;
        Ok(match answer {
            Value::BulkString(bytes) => bytes.try_into().ok(),
            _ => None,
        })
    }

    /// Gives a short name back, if it is still that connection's.
    pub async fn free_name(&self, key: &[u8], owner: &[u8; 24]) -> RedisResult<()> {
        self.run(FREE, &[key.to_vec()], &[owner]).await.map(drop)
    }

    async fn run(
        &self,
        script: Script,
        keys: &[Vec<u8>],
        arguments: &[&[u8]],
    ) -> RedisResult<Value> {
        let command = |name: &str, what: &[u8]| {
            let mut command = cmd(name);
            command.arg(what).arg(keys.len());
            keys.iter().for_each(|key| {
                command.arg(key.as_slice());
            });
            arguments.iter().for_each(|argument| {
                command.arg(*argument);
            });
            command
        };
        let hash: String = Sha1::digest(script.0)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        match self.ask(&command("EVALSHA", hash.as_bytes())).await {
            // It does not know the script yet, or not any more.
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                self.ask(&command("EVAL", script.0.as_bytes())).await
            }
            other => other,
        }
    }

    async fn ask(&self, command: &Cmd) -> RedisResult<Value> {
        let answer = match self {
            Self::One(one) => one.clone().req_packed_command(command).await,
            Self::Many(many) => many.clone().req_packed_command(command).await,
        }?;
        answer.extract_error()
    }
}

/// The strings of an answer; what is no string is empty.
fn list(answer: Value) -> Vec<Vec<u8>> {
    let Value::Array(items) = answer else {
        return Vec::new();
    };
    let string = |item| match item {
        Value::BulkString(bytes) => bytes,
        Value::SimpleString(text) => text.into_bytes(),
        _ => Vec::new(),
    };
    items.into_iter().map(string).collect()
}

/// How long one answer may take. Redis answers within a millisecond; one that takes this long is as good as gone.
const PATIENCE: Duration = Duration::from_secs(3);
/// Commands on their way to the connection's task; who comes later waits.
const PIPELINE: usize = 256;
/// How many of one cell are looked at.
const PER_CELL: usize = 16;
/// How long Redis keeps what nobody refreshes, in milliseconds. Nodes refresh three times as often.
const KEPT_MS: &[u8] = b"3600000";
pub const KEPT: Duration = Duration::from_millis(3_600_000);

/// KEYS: nodes. ARGV: node, milliseconds. Answer: whether it had a lease, then all that have one.
const LEASE: Script = Script(
    "local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
local had = redis.call('ZSCORE', KEYS[1], ARGV[1])
redis.call('ZADD', KEYS[1], now + ARGV[2], ARGV[1])
local nodes = redis.call('ZRANGE', KEYS[1], 0, 4095)
table.insert(nodes, 1, had and '1' or '0')
return nodes",
);

/// KEYS: nodes. Answer: all that have a lease.
const LIVE: Script = Script(
    "local t = redis.call('TIME')
return redis.call('ZRANGE', KEYS[1], t[1] * 1000 + math.floor(t[2] / 1000), '+inf', 'BYSCORE', 'LIMIT', 0, 4096)",
);

/// KEYS: world, cells. ARGV: peer, presence, milliseconds, most peers, dead node.
const ENTER: Script = Script(
    "local old = redis.call('HGET', KEYS[1], ARGV[1])
if old and #old == #ARGV[2] then
  local node = string.sub(old, 2, 17)
  local later = struct.unpack('>I8', old, 18) >= struct.unpack('>I8', ARGV[2], 18)
  if node ~= string.sub(ARGV[2], 2, 17) and node ~= ARGV[5] and later then return {'earlier', old} end
elseif redis.call('HLEN', KEYS[1]) >= tonumber(ARGV[4]) then
  return {'full'}
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
for i = 2, #KEYS do redis.call('HSET', KEYS[i], ARGV[1], '') end
for i = 1, #KEYS do redis.call('PEXPIRE', KEYS[i], ARGV[3]) end
return {'here', old or ''}",
);

/// KEYS: world, cells. ARGV: how many of each cell, how many of the world. Answer: peer, presence, peer, presence…
const SAMPLE: Script = Script(
    "local found = {}
for i = 2, #KEYS do
  local peers = redis.call('HRANDFIELD', KEYS[i], ARGV[1])
  if #peers > 0 then
    local seen = redis.call('HMGET', KEYS[1], unpack(peers))
    for j = 1, #peers do found[#found + 1] = peers[j]; found[#found + 1] = seen[j] or '' end
  end
end
local world = redis.call('HRANDFIELD', KEYS[1], ARGV[2], 'WITHVALUES')
for j = 1, #world do found[#found + 1] = world[j] end
return found",
);

/// KEYS: world, cells. ARGV: peer, node.
const FORGET: Script = Script(
    "local old = redis.call('HGET', KEYS[1], ARGV[1])
if old and string.sub(old, 2, 17) == ARGV[2] then redis.call('HDEL', KEYS[1], ARGV[1]); old = false end
if not old then for i = 2, #KEYS do redis.call('HDEL', KEYS[i], ARGV[1]) end end
return 0",
);

/// KEYS: world. ARGV: peer. Only if the value has another length than a presence, or another version.
const CLEAR: Script = Script(
    "local old = redis.call('HGET', KEYS[1], ARGV[1])
if old and (#old ~= 60 or string.byte(old) ~= 1) then redis.call('HDEL', KEYS[1], ARGV[1]) end
return 0",
);

/// KEYS: account. ARGV: node and connection, swarm, milliseconds, most connections, most swarms, live nodes… Answer: 0 taken, 1 too many
/// connections, 2 too many swarms.
const OPEN: Script = Script(
    "local live = {}
for i = 6, #ARGV do live[ARGV[i]] = true end
local all = redis.call('HGETALL', KEYS[1])
local count, swarms, distinct = 0, {}, 0
for i = 1, #all, 2 do
  if not live[string.sub(all[i], 1, 16)] then
    redis.call('HDEL', KEYS[1], all[i])
  elseif all[i] ~= ARGV[1] then
    count = count + 1
    if not swarms[all[i + 1]] then swarms[all[i + 1]] = true; distinct = distinct + 1 end
  end
end
if count >= tonumber(ARGV[4]) then return 1 end
if not swarms[ARGV[2]] and distinct >= tonumber(ARGV[5]) then return 2 end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 0",
);

/// KEYS: account. ARGV: field, milliseconds. Answer: how often it was counted.
const COUNT: Script = Script(
    "local n = redis.call('HINCRBY', KEYS[1], ARGV[1], 1)
if redis.call('PTTL', KEYS[1]) < 0 then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
return n",
);

/// KEYS: name. ARGV: node and connection, ticket, finds, milliseconds. Answer: 1 taken, 0 somebody has it.
const CLAIM: Script = Script(
    "if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
redis.call('HSET', KEYS[1], 'owner', ARGV[1], 'ticket', ARGV[2], 'finds', ARGV[3])
redis.call('PEXPIRE', KEYS[1], ARGV[4])
return 1",
);

/// KEYS: name. Answer: its ticket; nothing if nobody has it, or it was found often enough.
const FIND: Script = Script(
    "local it = redis.call('HMGET', KEYS[1], 'ticket', 'finds')
if not it[1] or (tonumber(it[2]) or 0) < 1 then return false end
redis.call('HINCRBY', KEYS[1], 'finds', -1)
return it[1]",
);

/// KEYS: name. ARGV: node and connection.
const FREE: Script = Script(
    "if redis.call('HGET', KEYS[1], 'owner') == ARGV[1] then redis.call('DEL', KEYS[1]) end
return 0",
);
