/** Plain steps in a row at most. */
const MAX_LENGTH = 64;

/** Plain steps after drafts that were not worth verifying: twice as many each time, until a draft pays again. */
export class Bursts {
  #length = 0;
  #left = 0;

  /** The next step is to be plain. */
  get isOn(): boolean {
    return this.#left > 0;
  }

  /** @param pays whether the latest draft was worth verifying */
  judge(pays: boolean): void {
    this.#length = pays ? 0 : Math.min(MAX_LENGTH, Math.max(1, 2 * this.#length));
    this.#left = this.#length;
  }

  endPlainStep(): void {
    this.#left = Math.max(0, this.#left - 1);
  }
}
