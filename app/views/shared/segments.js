// Draws text piece by piece. The text is a model's, hence hostile: it only ever enters through textContent.

const GAP = 6 // px between a piece and its tooltip

function element(className, text) {
  const node = document.createElement("span")
  node.className = className
  if (text !== undefined) node.textContent = text
  return node
}

function tint(node, strength, hue) {
  node.classList.add("mark")
  node.style.setProperty("--strength", strength)
  node.style.setProperty("--hue", hue)
}

function mark(node, category, hue) {
  tint(node, category.strength, hue)
  node.classList.add(category.line)
  node.style.setProperty("--line-hue", hue)
}

function drawLegend(legend, { title, scale, categories }, hueOf) {
  const nodes = []
  if (title) nodes.push(element("title", title))
  if (scale) {
    const bar = element("scale")
    const strongest = `color-mix(in srgb, ${hueOf(scale.hue)} 55%, transparent)`
    bar.style.background = `linear-gradient(to right, transparent, ${strongest})`
    nodes.push(element("low", scale.low), bar, element("high", scale.high))
  }
  for (const category of categories) {
    const sample = element("sample", category.label)
    mark(sample, category, hueOf(category.hue))
    nodes.push(sample)
  }
  legend.replaceChildren(...nodes)
  legend.hidden = nodes.length === 0
}

function drawText(box, data, hueOf) {
  const { scale, categories } = data.legend
  const nodes = data.texts.map((text, index) => {
    const node = element("piece", text)
    node.dataset.index = index
    const category = categories[data.categories[index]]
    if (category) mark(node, category, hueOf(category.hue))
    if (scale && data.strengths[index] !== null) tint(node, data.strengths[index], hueOf(scale.hue))
    if (data.tooltips[index].length > 0) {
      node.classList.add("mark")
      if (text === "") node.classList.add("empty")
      else if (text.trim() === "" && text.includes("\n")) node.classList.add("break")
    }
    return node
  })
  box.replaceChildren(...nodes)
  return nodes
}

export default function ({ data, parentElement }) {
  const root = parentElement.querySelector(".segments")
  const [legend, box, tip] = root.children
  const host = parentElement.host ?? parentElement
  const palette = getComputedStyle(host).getPropertyValue("--st-chart-categorical-colors").split(",")
  const hueOf = (index) => palette[index % palette.length].trim() || "#0072B2"

  drawLegend(legend, data.legend, hueOf)
  const pieces = drawText(box, data, hueOf)
  box.setAttribute("aria-label", data.label)
  let active = -1
  let keptTop = 0 // where the last step of the keyboard left the scroll position

  function hide() {
    pieces[active]?.classList.remove("active")
    active = -1
    tip.hidden = true
  }

  function show(index) {
    hide()
    if (!data.tooltips[index]?.length) return
    active = index
    const piece = pieces[index]
    piece.classList.add("active")
    tip.replaceChildren(...data.tooltips[index].map((line) => {
      const row = document.createElement("div")
      row.textContent = line
      return row
    }))
    tip.hidden = false
    const frame = root.getBoundingClientRect()
    const spot = piece.getClientRects()[0]
    if (!spot) return
    const left = Math.max(0, Math.min(spot.left - frame.left, frame.width - tip.offsetWidth))
    const below = spot.bottom + GAP
    const fits = below + tip.offsetHeight <= window.innerHeight
    tip.style.left = `${left}px`
    tip.style.top = `${(fits ? below : spot.top - tip.offsetHeight - GAP) - frame.top}px`
  }

  function step(by) {
    let next = active + by
    while (next >= 0 && next < pieces.length && !data.tooltips[next].length) next += by
    if (next < 0 || next >= pieces.length) return
    pieces[next].scrollIntoView({ block: "nearest" })
    keptTop = box.scrollTop
    show(next)
  }

  box.onmouseover = (event) => {
    const index = event.target.dataset.index
    if (index !== undefined && event.buttons === 0) show(Number(index))
  }
  box.onmouseleave = hide
  box.onscroll = () => box.scrollTop !== keptTop && hide()
  box.onblur = hide
  box.onkeydown = (event) => {
    const moves = { ArrowRight: () => step(1), ArrowLeft: () => step(active < 0 ? pieces.length : -1), Escape: hide }
    if (event.shiftKey || event.ctrlKey || event.metaKey || !moves[event.key]) return
    event.preventDefault()
    moves[event.key]()
  }
  hide()
}
