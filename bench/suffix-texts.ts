/** A conversation whose last turn is the answer that is measured. */
export interface Exchange {
  readonly messages: readonly { readonly role: "user" | "assistant"; readonly content: string }[];
  readonly answer: string;
}

const KETTLE = `The kettle stands on the left of the stove, because the plug is there. Fill it to the line and no
higher, or it boils over and the switch gets wet. When it clicks, wait for a minute before you pour: green tea turns bitter
in boiling water, and so does the white. The cups are in the cupboard above, the small ones in front. Please put the lid
back on the tin, as the leaves lose their smell in a week without it.`;

const NOTICE = `Dear neighbours, the water in our house will be turned off on Tuesday from nine in the morning until two in the
afternoon. A pipe in the cellar has to be replaced before the winter. Please fill a bucket or two on Monday evening, and keep your
taps closed while the work goes on, so that nothing floods when the water comes back. The lift is not affected. If you have
questions, ring the bell on the ground floor, or call the number beside the letter boxes.`;

const HARBOUR = `The harbour was built in three parts. The old basin, which is the smallest, was dug by hand and holds only
fishing boats. The long quay came sixty years later, when the railway reached the town, and for a time it was the busiest on the
coast. The outer mole was finished last. It was meant for large ships that never came, and today people walk their dogs on it
and watch the storms from behind the wall.`;

const COUNTER = `export class Counter {
  private count = 0;

  constructor(private readonly limit: number) {}

  increment(): number {
    if (this.count < this.limit) {
      this.count = this.count + 1;
    }
    return this.count;
  }

  reset(): void {
    this.count = 0;
  }
}`;

const ROUTE = `app.get("/orders/:id", async (request, reply) => {
  const order = await orders.find(request.params.id);
  if (order === undefined) {
    return reply.code(404).send({ error: "there is no such order" });
  }
  return { id: order.id, lines: order.lines, total: order.total };
});`;

function edited(text: string, changes: readonly (readonly [from: string, to: string])[]): string {
  return changes.reduce((result, [from, to]) => {
    if (!result.includes(from)) throw new Error(`the text does not say ${JSON.stringify(from)}`);
    return result.replaceAll(from, to);
  }, text);
}

function edit(text: string, wish: string, changes: readonly (readonly [from: string, to: string])[]): Exchange {
  return { messages: [{ role: "user", content: `${wish}\n\n${text}` }], answer: edited(text, changes) };
}

/** A text comes back with a few changes, as the user wished. */
export const COPY_EDITING: readonly Exchange[] = [
  edit(KETTLE, "Please make this note a little friendlier.", [
    ["Fill it to the line and no\nhigher", "Kindly fill it to the line, no higher"],
    ["wait for a minute", "give it a minute"],
    ["as the leaves lose", "since the leaves lose"],
  ]),
  edit(NOTICE, "The work has been moved to Thursday, from ten to four. Please correct the notice.", [
    ["on Tuesday from nine in the morning until two", "on Thursday from ten in the morning until four"],
    ["on Monday evening", "on Wednesday evening"],
  ]),
  edit(HARBOUR, "Use the present tense where it is possible, and American spelling.", [
    ["The harbour was built", "The harbor was built"],
    ["holds only\nfishing boats", "holds only fishing boats"],
    ["was meant for large ships that never came", "is meant for large ships that never come"],
  ]),
  edit(COUNTER, "Rename count to value, and use the shorter way to add one.", [
    ["this.count = this.count + 1", "this.value += 1"],
    ["this.count", "this.value"],
    ["private count", "private value"],
  ]),
];

/** The same thing is worked on over several turns. */
export const MULTI_TURN: readonly Exchange[] = [
  {
    messages: [
      { role: "user", content: "Write a route that gives an order by its id." },
      { role: "assistant", content: ROUTE },
      { role: "user", content: "Orders of other customers must not be shown." },
    ],
    answer: edited(ROUTE, [
      ["if (order === undefined) {", "if (order === undefined || order.customer !== request.customer) {"],
    ]),
  },
  {
    messages: [
      { role: "user", content: "Write a route that gives an order by its id." },
      { role: "assistant", content: ROUTE },
      { role: "user", content: "And one that gives the customer of an order." },
    ],
    answer: edited(ROUTE, [
      ["/orders/:id", "/orders/:id/customer"],
      ["{ id: order.id, lines: order.lines, total: order.total }", "customers.find(order.customer)"],
    ]),
  },
  {
    messages: [
      { role: "user", content: "What should I write on the door for the neighbours?" },
      { role: "assistant", content: NOTICE },
      { role: "user", content: "The lift will be off, too." },
    ],
    answer: edited(NOTICE, [["The lift is not affected.", "The lift will not run, either."]]),
  },
  {
    messages: [
      { role: "user", content: `Add a method that counts down.\n\n${COUNTER}` },
      {
        role: "assistant",
        content: edited(COUNTER, [
          [
            "  reset()",
            "  decrement(): number {\n    if (this.count > 0) {\n      this.count = this.count - 1;\n    }\n    return this.count;\n  }\n\n  reset()",
          ],
        ]),
      },
      { role: "user", content: "Let it start at a number that is given." },
    ],
    answer: edited(COUNTER, [
      [
        "constructor(private readonly limit: number) {}",
        "constructor(private readonly limit: number, start: number) {\n    this.count = start;\n  }",
      ],
      [
        "  reset()",
        "  decrement(): number {\n    if (this.count > 0) {\n      this.count = this.count - 1;\n    }\n    return this.count;\n  }\n\n  reset()",
      ],
    ]),
  },
];
