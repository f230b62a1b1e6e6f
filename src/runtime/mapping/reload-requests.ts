import type { PipelineMapping } from './pipeline-mapping.ts'

/**
 * Tells a running pipeline that its mapping may be another one: `request()` lets it be read again from where it is,
 * `request(mapping)` brings it. What is asked for twice before the pipeline looks is done once.
 */
export class ReloadRequests {
  #pending: { readonly mapping: PipelineMapping | null } | null = null
  #wake: (() => void) | null = null

  request(mapping: PipelineMapping | null = null): void {
    this.#pending = { mapping: mapping ?? this.#pending?.mapping ?? null }
    this.#wake?.()
  }

  /** Resolves when there is a request, or when the signal is aborted. For the pipeline only. */
  async asked(signal: AbortSignal): Promise<void> {
    while (this.#pending === null && !signal.aborted) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve
        signal.addEventListener('abort', () => resolve(), { once: true })
      })
    }
  }

  /** The next request; null when the signal is aborted before. For the pipeline only. */
  async next(signal: AbortSignal): Promise<{ readonly mapping: PipelineMapping | null } | null> {
    await this.asked(signal)
    if (signal.aborted) return null
    const pending = this.#pending
    this.#pending = null
    return pending
  }
}
