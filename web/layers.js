// The choice among the sizes of a picture (WHEP core extensions, video layer selection).

/** What was chosen, as JSON; "" leaves it to the server. It outlives a session: the next one is told. */
let chosen = "";
/** The session that knows. */
let told = null;

/** What there is to choose from, `[{ name, wish }]` with the largest first, and what is chosen. */
export async function layers(call) {
  const known = call?.layers ? await ask(call) : {};
  const heights = new Set((known.layers ?? []).map(({ height }) => height).filter((height) => height > 0));
  const sorted = [...heights].toSorted((a, b) => b - a);
  // At most so many lines: where the connection does not carry them, the server may still send fewer.
  return { choices: sorted.map((height) => ({ name: `${height}p`, wish: JSON.stringify({ maxHeight: height }) })), chosen };
}

async function ask(call) {
  const response = await fetch(call.layers).catch(() => null);
  return response?.ok ? response.json().catch(() => ({})) : {};
}

/** Tells the server what is wanted from now on. Throws when it cannot be had. */
export async function chooseLayer(call, wish) {
  [chosen, told] = [wish, call];
  if (!call?.layers) return;
  const body = { method: "POST", headers: { "content-type": "application/json" }, body: wish };
  const response = await fetch(call.layers, wish ? body : { method: "DELETE" });
  if (!response.ok) throw new Error(`the server says ${response.status}`);
}

/** Tells a new session what the one before it knew. */
export async function keepLayer(call) {
  if (chosen && call !== told) await chooseLayer(call, chosen);
}
