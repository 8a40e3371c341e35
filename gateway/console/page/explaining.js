// "What would happen to…".  Owns: the question's form, the account as a person reads it.
// Never: markup from text.

import { byId, make } from "./drawing.js";

export function prepare(ask) {
  byId("ask").addEventListener("submit", async (event) => {
    event.preventDefault();
    const given = new FormData(event.target);
    const question = { flow: given.get("flow").trim() };
    const names = given.get("names").split(/[\s,]+/).filter(Boolean);
    const payload = given.get("payload").trim().replace(/^hex:/, "");
    if (names.length) question.names = names;
    if (payload) question.payload = payload;
    if (given.get("traffic")) question.traffic = given.get("traffic");
    const answer = byId("answer");
    answer.setAttribute("aria-busy", "true");
    try {
      answer.replaceChildren(...account(await ask(question)));
    } catch (error) {
      answer.replaceChildren(make("p", "fault", error.message));
    }
    answer.removeAttribute("aria-busy");
  });
}

function account(said) {
  const { facts, verdict } = said;
  const target = verdict.target ? ` ${verdict.target}` : "";
  const title = make("p", "verdict", make("span", verdict.action, `${verdict.action}${target}`), " by ", make("b", "", verdict.rule), `: ${verdict.reason}`);
  const notes = [];
  if (verdict.settled === false) notes.push("The payload can still change this: it is decided anew when it is seen.");
  if (verdict.mode === "shadow") notes.push("The policy is in shadow mode: it is written down, and nothing is enforced.");
  if (verdict.would) notes.push(`A rule in shadow would have said: ${verdict.would.action} by ${verdict.would.rule}.`);
  const json = make("details", "", make("summary", "", "The whole account, as gateway explain --json"));
  const text = make("pre", "", JSON.stringify(said, null, 2));
  text.tabIndex = 0;
  json.append(text);
  return [title, ...notes.map((note) => make("p", "", note)), make("h3", "", "What is known"), known(facts), make("h3", "", "Evidence"), evidence(facts.to), make("h3", "", "Rules, in order"), considered(said), json];
}

function known(facts) {
  const found = facts.plaintext;
  const told = [
    ["protocol", [facts.protocol, facts.message].filter(Boolean).join(" ") || "not seen yet"],
    ["traffic", facts.traffic ?? "it cannot be told"],
    ["identifiers in plaintext", found === null ? "it cannot be told" : found.map((one) => `${one.kind} at ${one.offset}+${one.length}`).join(", ") || "none found"],
    ["names", facts.names.join(", ") || "none"],
    ["jurisdictions", [...facts.to.jurisdictions, ...facts.to.undetermined.map((one) => `perhaps ${one}`)].join(", ") || "none"],
  ];
  const list = make("dl", "pairs");
  for (const [term, text] of told) list.append(make("div", "", make("dt", "quiet", term), make("dd", "", text)));
  return list;
}

function evidence(to) {
  const list = make("ul", "");
  for (const one of to.evidence) {
    const stale = one.stale ? ", too old to count" : "";
    list.append(make("li", "", `${one.axis}: `, make("b", "", one.value), ` for ${one.prefix}, by ${one.source} ${one.built}${stale}`));
  }
  for (const doubt of to.doubts) list.append(make("li", "warn", doubt));
  if (!list.children.length) list.append(make("li", "quiet", "No source says anything."));
  return list;
}

function considered(said) {
  const list = make("ol", "");
  for (const one of said.considered) {
    const decides = one.rule === said.verdict.rule ? " ← decides" : "";
    list.append(make("li", "", make("b", "", one.rule), `: ${one.result}, ${one.why}${decides}`));
  }
  for (const rule of said.not_asked) list.append(make("li", "quiet", `${rule}: not asked any more`));
  if (said.verdict.rule === "default") list.append(make("li", "", "No rule matches: the default decides."));
  return list;
}
