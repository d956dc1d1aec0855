// Plays recorded answers. Their texts are a model's, hence hostile: they only ever enter as text nodes.

const CALM_S = 0.5 // between two steps of the text where less motion is wanted
const LONGEST_FRAME_MS = 1000 // a page that nobody sees is not drawn, and stands still

function made(tag, className, text) {
  const node = document.createElement(tag)
  node.className = className
  if (text !== undefined) node.textContent = text
  return node
}

function momentsOf(lane, ticksPerSecond) {
  let ticks = 0
  return lane.steps.map((step) => (ticks += step) / ticksPerSecond)
}

/** A lane's card, and a function that shows it as it stood so many seconds after its request arrived. */
function laneCard(lane, ticksPerSecond) {
  const moments = momentsOf(lane, ticksPerSecond)
  const card = made("section", "lane")
  card.setAttribute("aria-label", lane.name)
  const words = document.createTextNode("")
  const answer = made("div", "answer")
  answer.tabIndex = 0
  answer.setAttribute("role", "group")
  answer.setAttribute("aria-label", `Answer of ${lane.name}`)
  answer.append(words)
  const doing = made("span", "doing")
  const counted = made("span", "counted")
  const state = made("div", "state")
  state.append(doing, counted)
  const bar = made("progress", "bar")
  bar.max = moments.length
  bar.setAttribute("aria-label", `Tokens of ${lane.name}`)
  const figures = made("dl", "figures")
  for (const [name, value, meaning] of lane.figures) {
    const pair = made("div", "figure")
    pair.title = meaning
    pair.append(made("dt", "", name), made("dd", "", value))
    figures.append(pair)
  }
  card.append(made("h2", "", lane.name), made("p", "recording", lane.recording))
  if (lane.prompt !== null) card.append(made("p", "words", lane.prompt))
  card.append(state, bar, answer, figures)

  let shown = 0
  function show(seconds) {
    let count = shown
    while (count < moments.length && moments[count] <= seconds) count += 1
    while (count > 0 && moments[count - 1] > seconds) count -= 1
    if (count > shown) words.appendData(lane.pieces.slice(shown, count).join(""))
    if (count < shown) words.data = lane.pieces.slice(0, count).join("")
    if (count !== shown) answer.scrollTop = answer.scrollHeight
    shown = count
    const over = count === moments.length
    doing.textContent = over ? `Done after ${lane.figures[2][1]}` : count ? "Writing" : "Waiting for the first token"
    const rate = seconds > 0 && count ? ` · ${(count / Math.min(seconds, lane.end_s)).toFixed(1)} tok/s` : ""
    counted.textContent = `${count} of ${moments.length} tokens${rate}`
    bar.value = count
  }
  return { card, show, end_s: lane.end_s }
}

function theatre(root, data) {
  const shows = JSON.stringify(data)
  if (root.shows === shows) return // the page was drawn again; what plays goes on
  root.shows = shows
  const part = (name) => root.querySelector(`.${name}`)
  const [play, speed, clock, time] = ["play", "speed", "clock", "time"].map(part)
  const lanes = data.lanes.map((lane) => laneCard(lane, data.ticks_per_second))
  const end = Math.max(...lanes.map((lane) => lane.end_s))
  const calm = window.matchMedia("(prefers-reduced-motion: reduce)")
  let now = 0
  let last = null // when the clock last went on; null while it stands

  part("title").textContent = data.title
  part("title").hidden = data.title === ""
  part("prompt").hidden = data.prompt === null
  part("prompt").querySelector(".words").textContent = data.prompt ?? ""
  part("lanes").replaceChildren(...lanes.map((lane) => lane.card))
  clock.max = end

  function draw() {
    const stepped = calm.matches && last !== null ? Math.floor(now / CALM_S) * CALM_S : now
    for (const lane of lanes) lane.show(stepped)
    clock.value = now
    time.textContent = `${now.toFixed(2)} s of ${end.toFixed(2)} s`
    clock.setAttribute("aria-valuetext", time.textContent)
    play.textContent = last !== null ? "Pause" : now >= end ? "Play again" : "Play"
  }

  function tick(moment) {
    if (last === null || !root.isConnected || root.shows !== shows) return
    now = Math.min(end, now + Math.min(LONGEST_FRAME_MS, Math.max(0, moment - last)) / 1000 * Number(speed.value))
    last = now < end ? moment : null
    draw()
    if (last !== null) requestAnimationFrame(tick)
  }

  function start() {
    if (now >= end) now = 0
    last = performance.now()
    draw()
    requestAnimationFrame(tick)
  }

  function stop() {
    last = null
    draw()
  }

  play.onclick = () => (last === null ? start() : stop())
  part("restart").onclick = () => {
    const plays = last !== null
    now = 0
    if (plays) last = performance.now()
    draw()
  }
  clock.oninput = () => {
    now = Math.min(end, Number(clock.value))
    draw()
  }
  draw()
}
