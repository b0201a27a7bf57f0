"use strict";
(() => {
  const DATA = JSON.parse(document.getElementById("data").textContent);
  const $ = (id) => document.getElementById(id);
  const canvas = $("canvas"), context = canvas.getContext("2d");
  const UNKNOWN = 65535, REACH = 14, HAS_STD = "std" in DATA.views[0].layers;
  const state = { view: 0, bands: 0, mode: "slider", overlay: "none", opacity: 0.7, split: 0.5, zoom: 1, cx: 0, cy: 0, probe: null };
  const choices = [
    ...(DATA.colour ? [{ name: DATA.natural ? "colour" : DATA.colour.map((k) => DATA.bands[k]).join(", "), bands: DATA.colour }] : []),
    ...DATA.bands.map((name, k) => ({ name, bands: [k] })),
  ];
  const OVERLAYS = {
    std: { name: "standard deviation", layers: ["std"], value: (s) => s, unit: DATA.unit, square: true },
    percent: { name: "standard deviation, % of the value", layers: ["std", "restored"], value: (s, r, band) => (100 * s) / brightness(r, band), unit: "%" },
    change: { name: "absolute change", layers: ["restored", "measured"], value: (r, m) => Math.abs(r - m), unit: DATA.unit },
    meanChange: { layers: ["change"], value: (c) => c, unit: DATA.unit },
  };
  const kept = new Map();

  // Of a stored value, relative to what percentages are: scaled as the file says, without sign.
  function brightness(value, band) {
    const [scale, offset] = DATA.scaling[band];
    return Math.abs(value + offset / scale);
  }

  function escaped(text) {
    const place = document.createElement("span");
    place.textContent = text;
    return place.innerHTML;
  }

  // Values -------------------------------------------------------------------------------------------------------------------------

  async function unpack(packed, bands, height, width) {
    const text = atob(packed.data), bytes = new Uint8Array(text.length);
    for (let k = 0; k < text.length; k++) bytes[k] = text.charCodeAt(k);
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
    const planes = new Uint8Array(await new Response(stream).arrayBuffer());
    const count = bands * height * width, values = new Float32Array(count);
    for (let k = 0, level = 0; k < count; k++) {
      level = k % width === 0 ? 0 : level;
      level = (level + (planes[k] | (planes[count + k] << 8))) & 65535;
      const band = Math.floor(k / (height * width));
      values[k] = level === UNKNOWN ? NaN : packed.low[band] + packed.step[band] * level;
    }
    return values;
  }

  async function load(index) {
    const view = DATA.views[index];
    if (!view.values) {
      const values = {};
      for (const [name, packed] of Object.entries(view.layers)) {
        values[name] = await unpack(packed, DATA.bands.length, view.height, view.width);
      }
      view.values = values;
    }
    return view;
  }

  const at = (view, layer, band, row, column) => view.values[layer][(band * view.height + row) * view.width + column];

  // Pictures -----------------------------------------------------------------------------------------------------------------------

  function painted(view, key, paint) {
    const name = `${DATA.views.indexOf(view)} ${key}`;
    if (!kept.has(name)) {
      if (kept.size > 12) kept.delete(kept.keys().next().value);
      const picture = document.createElement("canvas");
      picture.width = view.width;
      picture.height = view.height;
      const pen = picture.getContext("2d"), image = pen.createImageData(view.width, view.height);
      paint(image.data);
      pen.putImageData(image, 0, 0);
      kept.set(name, picture);
    }
    return kept.get(name);
  }

  function scene(view, layer) {
    const bands = choices[state.bands].bands, size = view.height * view.width;
    return painted(view, `${layer} ${state.bands}`, (pixels) => {
      for (let k = 0; k < size; k++) {
        let known = true;
        for (let c = 0; c < 3; c++) {
          const band = bands[c % bands.length], [low, high] = DATA.stretch[band], value = view.values[layer][band * size + k];
          known = known && !Number.isNaN(value);
          pixels[4 * k + c] = (255 * (value - low)) / (high - low);
        }
        pixels[4 * k + 3] = known ? 255 : 0;
      }
    });
  }

  function overlaid(view, kind, k) {
    const bands = choices[state.bands].bands, size = view.height * view.width;
    const { layers, value } = OVERLAYS[kind === "change" && view.values.change ? "meanChange" : kind];  // means of changes, not change of means
    let total = 0;
    for (const band of bands) total += value(...layers.map((name) => view.values[name][band * size + k]), band) ** 2;
    return Math.sqrt(total / bands.length);
  }

  function limits(kind) {
    const view = DATA.views[state.view], size = view.height * view.width, found = [], step = Math.max(1, Math.floor(size / 40000));
    for (let k = 0; k < size; k += step) {
      const value = overlaid(view, kind, k);
      if (Number.isFinite(value)) found.push(value);
    }
    found.sort((a, b) => a - b);
    const share = (q) => (found.length ? found[Math.min(found.length - 1, Math.floor(q * found.length))] : 0);
    const low = share(0.02), high = share(0.98);
    return [low, high > low ? high : low + 1e-6];
  }

  function coloured(view, kind) {
    const [low, high] = limits(kind), size = view.height * view.width;
    return painted(view, `${kind} ${state.bands}`, (pixels) => {
      for (let k = 0; k < size; k++) {
        const value = overlaid(view, kind, k);
        if (!Number.isFinite(value)) continue;
        const place = Math.max(0, Math.min(255, Math.round((255 * (value - low)) / (high - low))));
        for (let c = 0; c < 3; c++) pixels[4 * k + c] = DATA.viridis[place][c];
        pixels[4 * k + 3] = 255;
      }
    });
  }

  // Drawing ------------------------------------------------------------------------------------------------------------------------

  const size = () => ({ width: canvas.clientWidth, height: canvas.clientHeight });
  const panes = () => {
    const { width } = size();
    if (state.mode === "beside") return [{ from: 0, to: width / 2, middle: width / 4 }, { from: width / 2, to: width, middle: (3 * width) / 4 }];
    return [{ from: 0, to: state.split * width, middle: width / 2 }, { from: state.split * width, to: width, middle: width / 2 }];
  };

  let waiting = false;
  function draw() {
    if (!waiting) {
      waiting = true;
      requestAnimationFrame(() => {
        waiting = false;
        drawNow();
      });
    }
  }

  function drawNow() {
    const view = DATA.views[state.view];
    if (!view.values) return;
    const { width, height } = size(), ratio = window.devicePixelRatio || 1;
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
    panes().forEach((pane, k) => drawPane(view, pane, k, ratio));
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    const line = panes()[1].from;
    context.fillStyle = "#ffffff";
    context.fillRect(line - 1, 0, 2, height);
    if (state.mode === "slider") drawHandle(line, height / 2);
    drawLabel("measured", Math.max(8, Math.min(line - 80, 8)), 8, line > 90);
    drawLabel("restored", width - 78, 8, width - line > 90);
    $("zoom").textContent = `${Math.round(100 * state.zoom)} %`;
  }

  function drawPane(view, pane, k, ratio) {
    const { height } = size(), z = state.zoom;
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.save();
    context.beginPath();
    context.rect(pane.from, 0, Math.max(0, pane.to - pane.from), height);
    context.clip();
    context.translate(pane.middle - state.cx * z, height / 2 - state.cy * z);
    context.scale(z, z);
    context.imageSmoothingEnabled = z * ratio < 1;
    context.drawImage(scene(view, k === 0 ? "measured" : "restored"), 0, 0);
    if (k === 1 && state.overlay !== "none") {
      context.globalAlpha = state.opacity;
      context.drawImage(coloured(view, state.overlay), 0, 0);
      context.globalAlpha = 1;
    }
    context.lineWidth = 1.5 / z;
    if (state.view === 0) drawFrames(z);
    if (state.probe) {
      context.strokeStyle = "#ff3ea5";
      context.strokeRect(state.probe.column, state.probe.row, 1, 1);
      if (z < 4) context.strokeRect(state.probe.column + 0.5 - 6 / z, state.probe.row + 0.5 - 6 / z, 12 / z, 12 / z);
    }
    context.restore();
  }

  function drawFrames(z) {
    const step = DATA.views[0].step;
    context.strokeStyle = "#ffd54a";
    context.fillStyle = "#ffd54a";
    context.font = `${12 / z}px sans-serif`;
    for (const part of DATA.views.slice(1)) {
      context.strokeRect(part.column / step, part.row / step, part.width / step, part.height / step);
      context.fillText(part.name, part.column / step, part.row / step - 3 / z);
    }
  }

  function drawHandle(x, y) {
    context.beginPath();
    context.arc(x, y, REACH, 0, 2 * Math.PI);
    context.fillStyle = "#ffffff";
    context.fill();
    context.fillStyle = "#16181d";
    for (const side of [-1, 1]) {
      context.beginPath();
      context.moveTo(x + side * 10, y);
      context.lineTo(x + side * 4, y - 5);
      context.lineTo(x + side * 4, y + 5);
      context.fill();
    }
  }

  function drawLabel(text, x, y, shown) {
    if (!shown) return;
    context.font = "13px sans-serif";
    context.fillStyle = "rgba(0, 0, 0, 0.65)";
    context.fillRect(x, y, 70, 22);
    context.fillStyle = "#ffffff";
    context.fillText(text, x + 7, y + 15);
  }

  // Moving -------------------------------------------------------------------------------------------------------------------------

  function fit() {
    const view = DATA.views[state.view], { width, height } = size();
    const room = state.mode === "beside" ? width / 2 : width;
    state.zoom = Math.min(room / view.width, height / view.height);
    state.cx = view.width / 2;
    state.cy = view.height / 2;
    draw();
  }

  function place(x, y) {
    const { height } = size(), pane = state.mode === "beside" && x >= panes()[1].from ? panes()[1] : panes()[0];
    return { column: state.cx + (x - pane.middle) / state.zoom, row: state.cy + (y - height / 2) / state.zoom };
  }

  function zoomBy(factor, x, y) {
    const before = place(x, y);
    state.zoom = Math.max(0.02, Math.min(64, state.zoom * factor));
    const after = place(x, y);
    state.cx += before.column - after.column;
    state.cy += before.row - after.row;
    draw();
  }

  const zoomCentre = (factor) => {
    const pane = panes()[state.mode === "beside" ? 1 : 0], { height } = size();
    zoomBy(factor, pane.middle, height / 2);
  };

  function setSplit(share) {
    state.split = Math.max(0, Math.min(1, share));
    $("split").value = String(100 * state.split);
    draw();
  }

  // Probing ------------------------------------------------------------------------------------------------------------------------

  const digits = (value, count = 4) => {
    if (!Number.isFinite(value)) return "none";
    return Number.isInteger(value) ? String(value) : String(Number(value.toPrecision(count)));
  };
  // As many decimals as the first digits of a standard deviation need.
  const near = (value, std) => value.toFixed(Math.max(0, Math.min(9, 2 - Math.floor(Math.log10(std || 1)))));

  function probe(row, column) {
    const view = DATA.views[state.view];
    if (!view.values) return;
    state.probe = { row: Math.max(0, Math.min(view.height - 1, Math.floor(row))), column: Math.max(0, Math.min(view.width - 1, Math.floor(column))) };
    const lines = DATA.bands.map((name, band) => probed(view, name, band)).join("");
    const { row: r, column: c } = state.probe, top = view.row + r * view.step, left = view.column + c * view.step;
    const heads = ["band", `measured, ${DATA.unit}`, `restored, ${DATA.unit}`];
    if (HAS_STD) heads.push("standard deviation", "in %");
    if (HAS_STD && view.step === 1) heads.push("95 % interval");
    const pixel = view.step === 1 ? `Row <b id="p-row">${top}</b>, column <b id="p-column">${left}</b>`
      : `Rows ${top} to ${top + view.step - 1}, columns ${left} to ${left + view.step - 1}: means of ${view.step} x ${view.step} pixels`;
    $("probe").innerHTML = `<p>${pixel}${where(top, left, view.step)}</p><table><thead><tr>${heads.map((h) => `<th scope="col">${escaped(h)}</th>`).join("")}</tr></thead><tbody>${lines}</tbody></table>`;
    draw();
  }

  function probed(view, name, band) {
    const value = (layer) => at(view, layer, band, state.probe.row, state.probe.column);
    const measured = value("measured"), restored = value("restored");
    const cells = [digits(measured, 6), digits(restored, 6)];
    if (HAS_STD) {
      const std = value("std"), half = DATA.interval * std;
      cells.push(digits(std), digits((100 * std) / brightness(restored, band), 3));
      if (view.step === 1) cells.push(Number.isFinite(std) ? `${near(restored - half, std)} to ${near(restored + half, std)}` : "none");
    }
    return `<tr><th scope="row">${escaped(name)}</th>${cells.map((c) => `<td>${c}</td>`).join("")}</tr>`;
  }

  function where(row, column, step) {
    if (!DATA.geo) return "";
    const [a, b, c, d, e, f] = DATA.geo.transform, x = column + step / 2, y = row + step / 2, places = DATA.geo.degrees ? 6 : 1;
    return `; ${(a * x + b * y + c).toFixed(places)}, ${(d * x + e * y + f).toFixed(places)} (${escaped(DATA.geo.crs)})`;
  }

  function stepProbe(rows, columns) {
    const view = DATA.views[state.view], now = state.probe || { row: Math.floor(view.height / 2), column: Math.floor(view.width / 2) };
    probe(now.row + (state.probe ? rows : 0), now.column + (state.probe ? columns : 0));
    const { width, height } = size(), room = state.mode === "beside" ? width / 2 : width;
    const away = (centre, found, half) => Math.abs(found + 0.5 - centre) > half;
    if (away(state.cx, state.probe.column, room / 2 / state.zoom)) state.cx = state.probe.column + 0.5;
    if (away(state.cy, state.probe.row, height / 2 / state.zoom)) state.cy = state.probe.row + 0.5;
  }

  // Controls -----------------------------------------------------------------------------------------------------------------------

  function describeScale() {
    const shown = state.overlay !== "none";
    $("scale").hidden = !shown;
    if (!shown) return;
    const { name, unit } = OVERLAYS[state.overlay], [low, high] = limits(state.overlay), bands = choices[state.bands].bands;
    const many = bands.length > 1 ? `, root mean square of ${bands.length} bands` : "";
    $("scale-name").textContent = `${name[0].toUpperCase()}${name.slice(1)}${many}`;
    const stops = DATA.viridis.filter((_, k) => k % 15 === 0).map((c) => `rgb(${c.join(",")})`);
    $("bar").style.background = `linear-gradient(to right, ${stops.join(",")})`;
    const mean = average(bands), share = (v) => (unit === "%" || !mean ? "" : ` = ${digits((100 * v) / mean, 2)} % of the mean`);
    $("marks").innerHTML = [low, (low + high) / 2, high].map((v) => `<span>${escaped(`${digits(v, 3)} ${unit}${share(v)}`)}</span>`).join("");
  }

  function average(bands) {
    const view = DATA.views[0], pixels = view.height * view.width;
    let total = 0, count = 0;
    for (const band of bands) {
      for (let k = 0; k < pixels; k++) {
        const value = view.values.restored[band * pixels + k];
        if (!Number.isNaN(value)) {
          total += value + DATA.scaling[band][1] / DATA.scaling[band][0];
          count += 1;
        }
      }
    }
    return Math.abs(total / Math.max(count, 1));
  }

  async function show(index) {
    await load(index);
    state.view = index;
    state.probe = null;
    describeScale();
    fit();
  }

  function options(select, names) {
    names.forEach(([value, text]) => select.add(new Option(text, value)));
  }

  const pointers = new Map();
  let sliding = false;
  const inside = (event) => {
    const box = canvas.getBoundingClientRect();
    return { x: event.clientX - box.left, y: event.clientY - box.top };
  };
  const onLine = (x) => state.mode === "slider" && Math.abs(x - panes()[1].from) < REACH;

  function pressed(event) {
    const spot = inside(event);
    canvas.setPointerCapture(event.pointerId);
    pointers.set(event.pointerId, { ...spot, moved: 0 });
    sliding = pointers.size === 1 && onLine(spot.x);
  }

  function moved(event) {
    const spot = inside(event), before = pointers.get(event.pointerId);
    if (!before) {
      canvas.classList.toggle("sliding", onLine(spot.x));
      const found = place(spot.x, spot.y);
      probe(found.row, found.column);
      return;
    }
    if (sliding) {
      setSplit(spot.x / size().width);
    } else if (pointers.size === 2) {
      const other = [...pointers].find(([id]) => id !== event.pointerId)[1];
      const apart = (p) => Math.hypot(p.x - other.x, p.y - other.y);
      zoomBy(apart(spot) / Math.max(apart(before), 1), other.x, other.y);
    } else {
      state.cx -= (spot.x - before.x) / state.zoom;
      state.cy -= (spot.y - before.y) / state.zoom;
      draw();
    }
    pointers.set(event.pointerId, { ...spot, moved: before.moved + Math.hypot(spot.x - before.x, spot.y - before.y) });
  }

  function released(event) {
    const spot = inside(event), before = pointers.get(event.pointerId);
    pointers.delete(event.pointerId);
    if (before && !sliding && before.moved < 6) {
      const found = place(spot.x, spot.y);
      probe(found.row, found.column);
    }
    sliding = false;
  }

  function typed(event) {
    const far = event.shiftKey ? 10 : 1;
    const actions = {
      ArrowUp: () => stepProbe(-far, 0), ArrowDown: () => stepProbe(far, 0), ArrowLeft: () => stepProbe(0, -far),
      ArrowRight: () => stepProbe(0, far), "+": () => zoomCentre(1.5), "=": () => zoomCentre(1.5), "-": () => zoomCentre(1 / 1.5),
      0: fit, 1: () => zoomCentre(1 / state.zoom), "[": () => setSplit(state.split - 0.05), "]": () => setSplit(state.split + 0.05),
    };
    if (event.ctrlKey || event.metaKey || event.altKey || !(event.key in actions)) return;
    event.preventDefault();
    actions[event.key]();
  }

  function themed() {
    const themes = ["as the system", "dark", "light"], label = $("theme").querySelector("span");
    const next = themes[(themes.indexOf(label.textContent) + 1) % themes.length];
    label.textContent = next;
    if (next === themes[0]) delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = next;
  }

  function listen() {
    $("view").addEventListener("change", (e) => show(Number(e.target.value)));
    $("bands").addEventListener("change", (e) => { state.bands = Number(e.target.value); describeScale(); draw(); });
    $("mode").addEventListener("change", (e) => { state.mode = e.target.value; $("split").disabled = state.mode === "beside"; fit(); });
    $("overlay").addEventListener("change", (e) => { state.overlay = e.target.value; describeScale(); draw(); });
    $("opacity").addEventListener("input", (e) => { state.opacity = Number(e.target.value) / 100; draw(); });
    $("split").addEventListener("input", (e) => { state.split = Number(e.target.value) / 100; draw(); });
    $("in").addEventListener("click", () => zoomCentre(1.5));
    $("out").addEventListener("click", () => zoomCentre(1 / 1.5));
    $("fit").addEventListener("click", fit);
    $("one").addEventListener("click", () => zoomCentre(1 / state.zoom));
    $("theme").addEventListener("click", themed);
    canvas.addEventListener("pointerdown", pressed);
    canvas.addEventListener("pointermove", moved);
    canvas.addEventListener("pointerup", released);
    canvas.addEventListener("pointercancel", released);
    canvas.addEventListener("keydown", typed);
    canvas.addEventListener("wheel", (e) => { e.preventDefault(); const s = inside(e); zoomBy(Math.exp(-e.deltaY / 400), s.x, s.y); }, { passive: false });
    new ResizeObserver(draw).observe(canvas);
  }

  async function begin() {
    options($("view"), DATA.views.map((v, k) => [k, v.step > 1 ? `${v.name}, ${v.step} x ${v.step} pixels in one` : v.name]));
    options($("bands"), choices.map((c, k) => [k, c.name]));
    options($("overlay"), Object.entries(OVERLAYS).filter(([, o]) => o.name && (HAS_STD || !o.layers.includes("std"))).map(([k, o]) => [k, o.name]));
    listen();
    await load(0);
    await show(0);
    document.documentElement.dataset.ready = "yes";
  }

  begin().catch((error) => {
    $("failed").hidden = false;
    console.error(error);
  });
})();
