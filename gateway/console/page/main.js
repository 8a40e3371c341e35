// The console's page.  Owns: what each event means for the page, the token (in memory only).

import { byId, countryName, drawMap, items, layMap, lines, number, pairs, rows, say, sum, verdicts } from "./drawing.js";
import { prepare } from "./explaining.js";
import { follow } from "./following.js";

const MINUTE = 60;
let token = null;
let stop = () => {};
const parts = {};
const waiting = new Set();
const samples = [];
const announced = {};

function announce(what, text) {
  if (announced[what] === text) return;
  const isFirst = !(what in announced);
  announced[what] = text;
  if (!isFirst || what === "health") say("said", text);
}

function status(now) {
  const isWell = now.health === "ok";
  byId("health").dataset.health = now.health;
  say("health-text", isWell ? "well" : `${now.troubles.length === 1 ? "1 trouble" : `${now.troubles.length} troubles`}`);
  announce("health", isWell ? "The gateway is well." : `Trouble: ${now.troubles.join("; ")}`);
  byId("troubles-section").hidden = isWell;
  items("troubles", now.troubles);
  rows("exits", now.exits.map((one) => [one.name, one.up ? ["up", "allow"] : ["down", "block"], [one.rtt_s === null ? "not measured" : `${(1000 * one.rtt_s).toFixed(1)} ms`, "n"], one.says]), "No exits are configured: whatever has to be wrapped is blocked.");
  const counted = (counters) => Object.entries(counters).filter(([, count]) => count).map(([kind, count]) => `${kind} ${number(count)}`).join(", ");
  rows("listeners", now.listeners.map((one) => [`${one.kind} ${one.at}`, counted(one.counters) || "nothing yet"]), "No listeners.");
  const load = now.last_load;
  say("load", `Last load: ${load.at.replace("T", " ")}, ${load.accepted ? "accepted" : `refused; epoch ${now.policy.epoch} stays`}.`);
  items("faults", load.faults);
  const log = now.log;
  say("log", log.path === null ? "No decision is written down." : `Decision log: ${number(log.written)} records written, ${number(log.lost)} lost. gateway verify checks it.`);
  const leaks = now.leaks;
  say("findings", `Flows with identifiers in plaintext since the start: ${number(leaks.given)} with given values, ${number(leaks.learned)} with learned ones. Ping sweeps: ${number(leaks.sweep)}.`);
  canaries(now.canaries);
  say("process", `gateway ${now.version}, process ${now.pid}, since ${now.started.replace("T", " ")}. Times are UTC.`);
  figures();
}

function canaries(now) {
  if (now === null || !now.last.length) {
    say("canaries", "Canaries: none so far.");
    return items("canary-alarms", []);
  }
  const outcomes = {};
  for (const one of now.last) outcomes[one.outcome] = (outcomes[one.outcome] ?? 0) + 1;
  const counted = Object.entries(outcomes).map(([outcome, count]) => `${number(count)} ${outcome}`).join(", ");
  const sent = now.sent.length ? `and sent by ${now.sent.join(", ")}` : "and not sent";
  say("canaries", `Canaries, judged ${sent}, every ${now.every_s} s. The last round: ${counted}.${now.not_sent ? ` Sent ${now.not_sent}.` : ""}`);
  // Notes and not flows: the page shows no address of a destination.
  items("canary-alarms", now.last.filter((one) => one.outcome === "through" || one.outcome === "failed").map((one) => `${one.note || "a canary"}, ${one.path}: expected ${one.expected}, ${one.outcome}`));
}

function policy(now) {
  const never = now.rules.filter((one) => !one.hits && one.shadow_percent < 100 && !one.is_over);
  say("in-force", `policy “${now.name}” ${now.revision}, epoch ${now.epoch}${now.mode === "shadow" ? ", shadow: nothing is enforced" : ""}`);
  announce("policy", `Policy ${now.name}, epoch ${now.epoch}, is in force.`);
  say("policy-note", `“${now.name}” ${now.revision}, in force since ${now.since.replace("T", " ")}. Hits are counted since then. ${never.length ? `Never hit: ${never.length} of ${now.rules.length} rules.` : "Every rule that decides was hit."} The policy file is changed, not this page.`);
  const lines = now.rules.map((one) => [one.id, [String(one.line), "n"], [one.target ? `${one.action} ${one.target}` : one.action, one.action], [number(one.hits), "n"], state(one), one.reason, one.owner]);
  lines.push(["default", ["–", "n"], [now.default.action, now.default.action], [number(now.default.hits), "n"], "", "where no rule matches", ""]);
  rows("rules", lines.map(([id, line, ...others]) => [line, id, ...others]), "");
}

function state(rule) {
  if (rule.is_over) return [`expired ${rule.expires}`, "warn"];
  const said = [];
  if (rule.shadow_percent) said.push(`shadow for ${rule.shadow_percent} %, would have decided ${number(rule.would)}`);
  const isNever = !rule.hits && rule.shadow_percent < 100;
  if (isNever) said.push("never hit");
  if (rule.expires) said.push(`until ${rule.expires}`);
  return [said.join(", "), isNever ? "never" : ""];
}

function data(now) {
  rows("sources", now.sources.map((one) => [one.name, one.axis, one.built || "no date", [one.age_days === null ? "?" : `${number(one.age_days)} days${one.stale ? ", too old" : ""}`, one.stale ? "n bad" : "n"], one.licence || "not told"]), "No source was loaded.");
  items("credits", [...new Set(now.sources.map((one) => one.credit).filter(Boolean))]);
  figures();
}

function flows(now) {
  where();
  const shares = now.shares > 1 ? `Router mode with ${now.shares} processes, ${number(now.flows)} flows in all: of them these are the first one's.${now.silent.length ? ` Not there: the workers of the queues ${now.silent.join(", ")}.` : ""}` : "";
  verdicts("jurisdictions", now.now.jurisdictions, (name) => (name === "none" ? "none of them" : name.endsWith("?") ? `perhaps ${name.slice(0, -1)}` : name), "No flows now.");
  say("jurisdictions-note", `A flow counts for each jurisdiction that its destination belongs to. ${shares}`);
  verdicts("traffic", now.decided.traffic, (name) => name, "Nothing was decided yet.");
  const refused = Object.entries(now.refused).map(([why, count]) => `${number(count)} new flows blocked: ${why}`);
  const failed = Object.entries(now.not_carried).map(([way, count]) => `${number(count)} flows blocked since ${way} could not carry them`);
  if (now.names_barred) failed.push(`${number(now.names_barred)} names not resolved`);
  say("refused", [...refused, ...failed].join("; "));
  if (!byId("hold").checked) recent(now.recent);
  if (!samples.length) sample();
}

/** Once a second, also where nothing changes and no event comes. */
function sample() {
  if (!parts.flows || document.body.classList.contains("stale")) return;
  const decided = Object.values(parts.flows.decided.traffic);
  samples.push({ at: performance.now(), all: decided.reduce((all, of) => all + sum(of), 0), blocked: decided.reduce((all, of) => all + (of.block ?? 0), 0), cpu: parts.flows.cost.cpu_s });
  while (samples.length > MINUTE + 1) samples.shift();
  cost(parts.flows.cost);
  figures();
}

function where() {
  if (!parts.flows) return;
  const isNow = document.querySelector("input[name=span]:checked").value === "now";
  const counts = isNow ? parts.flows.now.countries : parts.flows.decided.countries;
  drawMap(counts);
  verdicts("countries", counts, (code) => (code.length === 2 ? `${countryName(code)} (${code})` : countryName(code)), isNow ? "No flows now." : "Nothing was decided yet.");
}

function recent(all) {
  const what = (one) => [one.transport, one.protocol, one.message, one.traffic].filter((word) => word && word !== "unknown").join(" ") + (one.plaintext?.length ? `, shows ${one.plaintext.join(", ")}` : "");
  const verdict = (one) => one.action + (one.target ? ` ${one.target}` : "") + (one.but ? ", blocked" : "") + (one.would ? ` (shadow: ${one.would})` : "");
  rows("recent", all.map((one) => [[one.time.slice(11, 23), "mono"], [one.client, "mono"], what(one), one.country === null ? "–" : countryName(one.country), [verdict(one), one.but ? "block" : one.action], one.rule, one.but ? `${one.but}; ${one.reason}` : one.reason]), "Nothing was decided yet.");
}

function rates() {
  const last = samples.at(-1);
  const first = samples[0];
  if (!last || last.at - first.at < 500) return null;
  const seconds = (last.at - first.at) / 1000;
  const count = last.all - first.all;
  return { perS: count / seconds, share: count ? (last.blocked - first.blocked) / count : null, cpu: (last.cpu - first.cpu) / seconds, cpuEach: count ? (last.cpu - first.cpu) / count : null };
}

function cost(now) {
  const rate = rates();
  pairs("cost", [
    ["processor, last minute", rate ? `${(100 * rate.cpu).toFixed(1)} % of one, of ${now.cpus}` : "not measured yet"],
    ["for each decision", rate?.cpuEach ? `${(1e6 * rate.cpuEach).toFixed(0)} µs, all of the process counted` : "no decisions in the last minute"],
    ["memory, the most so far", `${(now.most_memory / 2 ** 20).toFixed(0)} MiB`],
  ]);
}

function figures() {
  const rate = rates();
  const exits = parts.status?.exits ?? [];
  const up = exits.filter((one) => one.up).length;
  const ages = (parts.data?.sources ?? []).map((one) => one.age_days ?? Infinity);
  const age = ages.length ? Math.max(...ages) : null;
  const lost = parts.status?.log.lost;
  pairs("figures", [
    ["flows now", parts.flows ? number(parts.flows.now.total) : "–"],
    ["decisions a second, last minute", rate ? rate.perS.toFixed(1) : "–"],
    ["of them blocked", rate?.share != null ? `${(100 * rate.share).toFixed(0)} %` : "–"],
    ["exits up", parts.status ? (exits.length ? `${up} of ${exits.length}` : "none set") : "–", up < exits.length ? "bad" : ""],
    ["oldest source", age === null ? "–" : age === Infinity ? "no date" : `${number(age)} days`, parts.data?.sources.some((one) => one.stale) ? "bad" : ""],
    ["records lost", lost === undefined ? "–" : number(lost), lost ? "bad" : ""],
  ]);
  const steps = samples.slice(1).map((one, at) => ({ all: one.all - samples[at].all, blocked: one.blocked - samples[at].blocked, s: (one.at - samples[at].at) / 1000 || 1 }));
  lines(chart, steps.map((one) => Math.max(0, one.all / one.s)), steps.map((one) => Math.max(0, one.blocked / one.s)));
}

const SVG = "http://www.w3.org/2000/svg";
const chart = document.createElementNS(SVG, "svg");
chart.setAttribute("viewBox", "0 0 100 30");
chart.setAttribute("preserveAspectRatio", "none");
chart.setAttribute("role", "img");
chart.setAttribute("aria-label", "Decisions a second over the last minute; dashed: blocks");
for (const kind of ["all-line", "block-line"]) {
  const path = chart.appendChild(document.createElementNS(SVG, "path"));
  path.setAttribute("class", kind);
  path.setAttribute("vector-effect", "non-scaling-stroke");
}
byId("figures").after(chart);
chart.classList.add("chart");

const DRAW = { status, policy, data, flows };

function hear(name, value) {
  parts[name] = value;
  if (!waiting.size) requestAnimationFrame(draw);
  waiting.add(name);
}

function draw() {
  const now = [...waiting];
  waiting.clear();
  for (const name of now) DRAW[name]?.(parts[name]);
}

function tell(state, why = "") {
  document.body.classList.toggle("stale", state !== "live");
  say("link", { live: "live", lost: `connection lost, trying again (${why})`, refused: "a token is needed" }[state]);
  announce("link", state === "live" ? "The page is live." : "The connection to the gateway is lost.");
  if (state === "lost") samples.length = 0;
  byId("token-form").hidden = state !== "refused";
  if (state === "refused") {
    say("token-fault", token === null ? "" : why);
    byId("token").focus();
  }
}

async function ask(question) {
  const headers = { "Content-Type": "application/json" };
  if (token !== null) headers.Authorization = `Bearer ${token}`;
  const answer = await fetch("/api/explain", { method: "POST", headers, body: JSON.stringify(question) });
  const said = await answer.json();
  if (!answer.ok) throw new Error(said.error);
  return said;
}

byId("token-form").addEventListener("submit", (event) => {
  event.preventDefault();
  token = byId("token").value;
  byId("token").value = "";
  stop();
  stop = follow(token, hear, tell);
});
for (const choice of document.querySelectorAll("input[name=span]")) choice.addEventListener("change", where);
byId("hold").addEventListener("change", () => parts.flows && !byId("hold").checked && recent(parts.flows.recent));
// There the tiles are too small for their names.
byId("as-table").open = matchMedia("(max-width: 40rem)").matches;
prepare(ask);
setInterval(sample, 1000);
layMap(await (await fetch("/api/countries")).json());
stop = follow(token, hear, tell);
