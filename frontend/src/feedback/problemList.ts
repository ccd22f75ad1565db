import { userMessage } from "@/api/errors"

/** A rejected change. `action`: label of the button that calls `retry`. */
export type Problem = { id: number; text: string; action: string; retry(): void }

/**
 * Report a rejected change. `what`: the sentence before the error message. `action`: label of the retry button, "Try
 * again" by default.
 */
export type ReportProblem = (what: string, error: unknown, retry: () => void, action?: string) => void

/** Observable list of rejected changes, newest first. Each stays until the user retries or dismisses it. */
export class ProblemList {
  #problems: readonly Problem[] = []
  #count = 0
  readonly #listeners = new Set<() => void>()

  /** Return all problems, newest first: an immutable array, replaced on each change. */
  readonly all = (): readonly Problem[] => this.#problems

  /** Call `listener` on every change of the list, until the returned function is called. */
  readonly subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /** Add a problem. Problems with the same text are not merged: they can be two changes. */
  readonly report: ReportProblem = (what, error, retry, action = "Try again") => {
    const problem = { id: (this.#count += 1), text: `${what} ${userMessage(error)}`, action, retry }
    this.#replace([problem, ...this.#problems])
  }

  /** Remove a problem from the list. */
  readonly dismiss = (id: number): void =>
    this.#replace(this.#problems.filter((problem) => problem.id !== id))

  /** Dismiss a problem and retry its change; a second rejection reports a new problem. */
  readonly retry = ({ id, retry }: Problem): void => {
    this.dismiss(id)
    retry()
  }

  #replace(problems: readonly Problem[]): void {
    this.#problems = problems
    this.#listeners.forEach((listener) => listener())
  }
}
