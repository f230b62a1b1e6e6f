import { constants } from 'node:os'

/**
 * A signal that is aborted by SIGINT or SIGTERM: drain and end. The second one ends the process at once, which is
 * safe: whatever was not saved is replayed at the next start.
 */
export function stopSignal(onStop: () => void): AbortSignal {
  const controller = new AbortController()
  const stop = (name: 'SIGINT' | 'SIGTERM') => {
    if (controller.signal.aborted) process.exit(128 + constants.signals[name])
    onStop()
    controller.abort()
  }
  process.on('SIGINT', stop)
  process.on('SIGTERM', stop)
  return controller.signal
}

/** SIGHUP asks for what was loaded to be loaded again; without a listener it ends the process. */
export function onReload(reload: () => void): void {
  process.on('SIGHUP', reload)
}
