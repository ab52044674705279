// What went wrong in a page, whichever driver hears it.

/** Something in a page that no page of ours should do. */
export interface Problem {
  kind: 'console' | 'exception' | 'crash';
  text: string;
  where: string;
}

/** A page in which everything that goes wrong is noted. */
export class Watched {
  readonly problems: Problem[] = [];
  /** Everything printed, for the report of a failed test. */
  readonly console: string[] = [];
  readonly #allowed: RegExp[] = [];

  protected report(problem: Problem): void {
    this.console.push(`${problem.kind}! ${problem.text}`);
    this.problems.push(problem);
  }

  /** These messages are what the browser itself says about something that the test does on purpose, e.g. cutting the network. */
  allow(...patterns: RegExp[]): this {
    this.#allowed.push(...patterns);
    return this;
  }

  /** Problems that the test did not allow. */
  unexpected(): Problem[] {
    return this.problems.filter(({ text }) => !this.#allowed.some((pattern) => pattern.test(text)));
  }
}
