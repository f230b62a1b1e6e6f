/** From the options to the port: who may connect, and what is behind each path. */
import type { Logger } from '../../../core/context.ts'
import { Authenticator } from './auth.ts'
import type { ChangeLog } from './change-log.ts'
import type { ClientWatermarks } from './client-watermarks.ts'
import { closeReason } from './close-reason.ts'
import type { ZeroConfig } from './config.ts'
import { Gateway } from './gateway.ts'
import { readShard } from './internal-tables.ts'
import type { JwtOptions } from './jwt.ts'
import { Listener, refuseOpenDoor, type Route } from './listener.ts'
import type { Publications } from './publications.ts'
import { readStreamRequest } from './stream-request.ts'
import type { Subscribers } from './subscribers.ts'
import { Subscription } from './subscription.ts'
import { readTlsFiles } from './tls-files.ts'
import { watermarkRoute } from './watermark-route.ts'
import { ZeroView } from './zero-view.ts'

/** `CHANGE_SOURCE_PATH` of the protocol, version 0. */
const STREAM_PATH = '/changes/v0/stream'
const TLS_POLL_MS = 5000
const HANDSHAKE_MS = 10_000
const KEY_SET_TIMEOUT_MS = 5000
const KEY_SET_COOLDOWN_MS = 30_000
const KEY_SET_AGE_MS = 600_000
/** A mistake in what was asked for does not heal: zero-cache would ask again at once. */
const REFUSAL_DELAY_MS = 2000
const REFUSED = 4400
/** A consumer of the gateway that takes nothing for so long is disconnected. */
const GATEWAY_STALL_MS = 30_000
const GATEWAY_KEEP_ALIVE_MS = 15_000

export interface EdgeOptions {
  readonly config: ZeroConfig
  readonly log: ChangeLog
  readonly publications: Publications
  readonly subscribers: Subscribers
  readonly clients: ClientWatermarks
  readonly logger: Logger
  readonly now: () => number
}

/** What would keep the port from being opened, besides that somebody else has it. Throws `ConfigError`. */
export async function checkEdge(config: ZeroConfig, logger: Logger, now: () => number): Promise<void> {
  const authenticator = authenticatorOf(config, logger, now)
  authenticator.close()
  refuseOpenDoor({ host: config.host, ...tlsOf(config) }, authenticator, { ...logger, warn: () => {} })
  if (config.tls !== undefined) await readTlsFiles(config.tls)
}

export function openEdge(options: EdgeOptions): Promise<Listener> {
  const { config, logger, now } = options
  const authenticator = authenticatorOf(config, logger, now)
  const listenerOptions = {
    host: config.host,
    port: config.port,
    tlsPollMs: TLS_POLL_MS,
    compression: config.compression,
    maxPayloadBytes: config.maxMessageSize,
    maxConnections: config.maxConnections,
    pingIntervalMs: config.pingInterval,
    handshakeTimeoutMs: HANDSHAKE_MS,
    ...tlsOf(config),
  }
  const gateway = new Gateway({
    log: options.log,
    publications: options.publications,
    requirePublication: config.requirePublication,
    clients: options.clients,
    logger,
    stallTimeoutMs: GATEWAY_STALL_MS,
    keepAliveMs: GATEWAY_KEEP_ALIVE_MS,
  })
  const routes = [streamRoute(options), gateway.route, watermarkRoute(options.clients)]
  return Listener.open(listenerOptions, authenticator, routes, logger, now)
}

function authenticatorOf(config: ZeroConfig, logger: Logger, now: () => number): Authenticator {
  const { tokens, anonymous, origins, jwt } = config
  const options = { tokens, anonymous, origins, ...(jwt === undefined ? {} : { jwt: jwtOptions(jwt) }) }
  return new Authenticator(options, logger, now)
}

function tlsOf({ tls }: ZeroConfig): { readonly tls?: NonNullable<ZeroConfig['tls']> } {
  return tls === undefined ? {} : { tls }
}

/** zero-cache, which is never turned away while we are not ready: it would be back at once. */
function streamRoute({ config, log, publications, subscribers, logger }: EdgeOptions): Route {
  return {
    path: STREAM_PATH,
    async upgrade(socket, { url, identity }, stream) {
      const shard = readShard(url.searchParams.get('appID'), url.searchParams.get('shardNum'))
      const request = readStreamRequest(url)
      const reason =
        'refused' in shard
          ? shard.refused
          : publications.refusal(request.publications, config.requirePublication)
      if (reason !== null || 'refused' in shard) {
        logger.warn('a subscriber asked for what cannot be had', { subscriber: identity.name, reason })
        const later = setTimeout(() => socket.close(REFUSED, closeReason(reason ?? '')), REFUSAL_DELAY_MS)
        socket.once('close', () => clearTimeout(later))
        return
      }
      const view = new ZeroView(shard, request.publications, publications, (id) => log.reader.version(id))
      const id = [identity.name, `${shard.appID}_${shard.shardNum}`, ...request.publications].join('/')
      const subscription = {
        request,
        id,
        shardNum: shard.shardNum,
        view,
        publications,
        log,
        subscribers,
        logger,
      }
      await new Subscription(socket, stream, subscription).run()
    },
  }
}

function jwtOptions(jwt: NonNullable<ZeroConfig['jwt']>): JwtOptions {
  const { keySetUrl, clockTolerance, algorithms, ...rest } = jwt
  return {
    ...rest,
    clockToleranceMs: clockTolerance,
    ...(algorithms === undefined ? {} : { algorithms }),
    ...(keySetUrl === undefined
      ? {}
      : {
          keySet: {
            url: keySetUrl,
            timeoutMs: KEY_SET_TIMEOUT_MS,
            cooldownMs: KEY_SET_COOLDOWN_MS,
            maxAgeMs: KEY_SET_AGE_MS,
          },
        }),
  }
}
