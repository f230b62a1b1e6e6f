/** The change log and all that serves it. It goes on between two attempts of a pipeline, so that subscribers stay. */
import { resolve } from 'node:path'
import type { Problem } from '../../../core/error.ts'
import type { SinkContext } from '../../../core/sink.ts'
import { Catalog } from './catalog.ts'
import { ChangeLog } from './change-log.ts'
import { ClientWatermarks } from './client-watermarks.ts'
import type { ZeroConfig } from './config.ts'
import { openEdge } from './edge.ts'
import type { Listener } from './listener.ts'
import { loadWanted, planOptions, publicationDefinitions } from './options.ts'
import { PermissionsSource } from './permissions-source.ts'
import { Publications } from './publications.ts'
import type { WantedTables } from './schema.ts'
import { Subscribers } from './subscribers.ts'
import { Upkeep } from './upkeep.ts'
import { offerWatermarks } from './watermarks.ts'

export class Service implements AsyncDisposable {
  readonly log: ChangeLog
  readonly publications: Publications
  readonly permissions: PermissionsSource
  readonly upkeep: Upkeep
  readonly listener: Listener
  readonly #config: ZeroConfig
  readonly #wanted: WantedTables | null
  /** Nobody asks for watermarks of its clients any more. */
  readonly #withdraw: () => void

  private constructor(
    config: ZeroConfig,
    wanted: WantedTables | null,
    withdraw: () => void,
    parts: Pick<Service, 'log' | 'publications' | 'permissions' | 'upkeep' | 'listener'>,
  ) {
    this.#config = config
    this.#wanted = wanted
    this.#withdraw = withdraw
    this.log = parts.log
    this.publications = parts.publications
    this.permissions = parts.permissions
    this.upkeep = parts.upkeep
    this.listener = parts.listener
  }

  /** The one that an attempt before has left, or a new one. */
  static async open(config: ZeroConfig, context: SinkContext): Promise<Service> {
    const left = context.kept?.take(keyOf(config))
    if (left instanceof Service) {
      try {
        await left.log.reset()
        return left
      } catch {
        // Its thread is gone: a new one finds out why.
        await left[Symbol.asyncDispose]()
      }
    }
    return Service.#start(config, context)
  }

  /** The tables of the log as they are on the disk. */
  catalog(context: SinkContext): Catalog {
    const worried = ({ message, code, fix }: Problem): void => context.log.warn(message, { code, fix })
    const catalog = new Catalog(planOptions(this.#config, this.#wanted, worried), this.log.opened)
    for (const version of catalog.current) this.publications.define(version)
    return catalog
  }

  /** Leaves it for the next attempt, if there may be one. */
  async leave({ kept }: SinkContext): Promise<void> {
    if (kept === undefined) await this[Symbol.asyncDispose]()
    else kept.keep(keyOf(this.#config), this)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#withdraw()
    this.permissions.close()
    await this.upkeep.stop()
    await this.listener.close()
    await this.log.close()
  }

  static async #start(config: ZeroConfig, { log: logger, now }: SinkContext): Promise<Service> {
    const wanted = await loadWanted(config, now)
    const definitions = publicationDefinitions(config)
    const log = await ChangeLog.open(config.path, definitions, config.earlier)
    try {
      const publications = new Publications(definitions, log.opened.filters)
      const { current } = new Catalog(planOptions(config, wanted), log.opened)
      for (const version of current) publications.define(version)
      await log.request({ kind: 'publications', fingerprints: publications.fingerprints() })
      const permissions = await PermissionsSource.open(config, log, logger)
      const subscribers = new Subscribers(log.reader.subscribers(), now)
      const clients = new ClientWatermarks({ log, subscribers })
      const listener = await openEdge({ config, log, publications, subscribers, clients, logger, now })
      const upkeep = new Upkeep({ log, subscribers, config, logger, now })
      upkeep.start()
      logger.info('serving', { host: config.host, port: listener.port, tls: config.tls !== undefined })
      const withdraw = offerWatermarks(config.path, clients)
      return new Service(config, wanted, withdraw, { log, publications, permissions, upkeep, listener })
    } catch (error) {
      await log.close()
      throw error
    }
  }
}

function keyOf({ path }: ZeroConfig): string {
  return `zero ${resolve(path)}`
}
