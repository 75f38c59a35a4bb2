// Bring to life what bark_jax.notebook shows: players, steps and keyboards inside `root`. Needs nothing else.
(root) => {
  const all = (node, selector) => [...node.querySelectorAll(selector)];
  const make = (tag, name, words = '') => Object.assign(document.createElement(tag), {className: name, textContent: words});
  // Only one sound plays at a time on a page.
  const alone = (stop) => { if (window.barkStop !== stop) window.barkStop?.(); window.barkStop = stop; };

  const player = (node) => {
    const total = +node.dataset.seconds, takes = all(node, '.bark-take'), stage = node.querySelector('.bark-stage');
    const button = node.querySelector('.bark-play'), time = node.querySelector('.bark-time');
    const chosen = all(node, '.bark-choose');
    const sounds = takes.map((take) => take.querySelector('audio'));
    let now = 0;
    const at = () => Math.min(sounds[now].currentTime, total);
    const show = () => {
      const seconds = at(), words = seconds.toFixed(2) + ' s';
      time.textContent = words + ' of ' + total.toFixed(2) + ' s';
      stage.setAttribute('aria-valuenow', seconds.toFixed(2));
      stage.setAttribute('aria-valuetext', words + (takes.length > 1 ? ', ' + takes[now].dataset.label : ''));
      takes.forEach((take) => {
        const place = Math.min(1, seconds / take.dataset.seconds);
        take.querySelector('.bark-line').style.left = 100 * place + '%';
        const text = take.querySelector('.bark-letters');
        if (!text) return;
        const frame = text.dataset.levels.split(' ')[Math.floor(seconds * text.dataset.rate + 1e-6)] || '';
        all(text, 'span').forEach((letter, i) => letter.style.setProperty('--level', (frame[i] || 0) / 9));
      });
    };
    const draw = () => { show(); if (!sounds[now].paused) requestAnimationFrame(draw); };
    const state = () => {
      const playing = !sounds[now].paused;
      button.textContent = playing ? '❚❚' : '▶';
      button.setAttribute('aria-label', playing ? 'Pause' : 'Play');
      draw();
    };
    const pause = () => sounds[now].pause();
    const play = () => {
      if (at() >= +takes[now].dataset.seconds - 0.02) seek(0);
      alone(pause);
      return sounds[now].play();
    };
    const toggle = () => sounds[now].paused ? play() : pause();
    const seek = (seconds) => {
      sounds[now].currentTime = Math.max(0, Math.min(seconds, +takes[now].dataset.seconds));
      show();
    };
    const choose = (place) => {
      const seconds = at(), playing = !sounds[now].paused;
      pause();
      now = (place + takes.length) % takes.length;
      takes.forEach((take, i) => take.classList.toggle('bark-now', i === now));
      chosen.forEach((one, i) => one.setAttribute('aria-pressed', i === now));
      seek(seconds);
      if (playing && seconds < +takes[now].dataset.seconds) play();
    };
    const keys = {
      ' ': toggle, ArrowLeft: () => seek(at() - 0.1), ArrowRight: () => seek(at() + 0.1),
      Home: () => seek(0), End: () => seek(total), ArrowUp: () => choose(now - 1), ArrowDown: () => choose(now + 1),
    };
    node.addEventListener('keydown', (event) => {
      const key = keys[event.key] || (takes[event.key - 1] && (() => choose(event.key - 1)));
      if (!key || event.ctrlKey || event.metaKey || event.altKey) return;
      if (event.key === ' ' && event.target.tagName === 'BUTTON') return;
      event.preventDefault();
      event.stopPropagation();
      key();
    });
    button.addEventListener('click', toggle);
    chosen.forEach((one, i) => one.addEventListener('click', () => choose(i)));
    const point = (event) => {
      const box = stage.getBoundingClientRect();
      const place = takes.findIndex((take) => take.contains(event.target));
      if (place >= 0 && place !== now && event.type === 'pointerdown') choose(place);
      seek(total * (event.clientX - box.left) / box.width);
    };
    stage.addEventListener('pointerdown', (event) => { stage.setPointerCapture(event.pointerId); point(event); });
    stage.addEventListener('pointermove', (event) => { if (event.buttons) point(event); });
    sounds.forEach((sound) => {
      sound.controls = false;
      ['play', 'pause', 'ended', 'seeked'].forEach((name) => sound.addEventListener(name, () => sound === sounds[now] && state()));
    });
    node.bark = {seek, play, pause, at, playing: () => !sounds[now].paused};
    choose(0);
  };

  const steps = (node) => {
    const slider = node.querySelector('input'), words = node.querySelector('output'), shown = all(node, '.bark-step');
    let now;
    const show = () => {
      const old = shown[now], step = shown[slider.value];
      if (old === step) return;
      now = slider.value;
      shown.forEach((one) => { one.hidden = one !== step; });
      words.textContent = step.dataset.label;
      slider.setAttribute('aria-valuetext', step.dataset.label);
      // A sound that plays goes on at the same instant of the next position.
      const [before, after] = [old, step].map((one) => one?.querySelector('[data-bark=player]')?.bark);
      if (!before || !after) return before?.pause();
      const [seconds, playing] = [before.at(), before.playing()];
      before.pause();
      after.seek(seconds);
      if (playing) after.play();
    };
    all(node, '.bark-position').forEach((one) => { one.hidden = true; });
    slider.addEventListener('input', show);
    show();
  };

  const keyboard = (node) => {
    const audio = node.querySelector('audio'), keys = node.querySelector('.bark-keys'), words = node.querySelector('output');
    const lengths = JSON.parse(node.dataset.lengths), columns = +node.dataset.columns, name = node.dataset.name;
    const begins = lengths.map(() => 0);
    lengths.forEach((length, i) => { if (i + 1 < lengths.length) begins[i + 1] = begins[i] + length; });
    const bytes = () => Uint8Array.from(atob(audio.src.split(',')[1]), (letter) => letter.charCodeAt(0)).buffer;
    let context, decoded, source;
    const stop = () => source?.stop();
    const press = async (place) => {
      words.textContent = name + ' ' + place;
      context ||= new AudioContext();
      context.resume();
      const buffer = await (decoded ||= context.decodeAudioData(bytes()));
      alone(stop);
      stop();
      source = context.createBufferSource();
      source.buffer = buffer;
      source.connect(context.destination);
      source.start(0, begins[place], lengths[place]);
      node.dataset.played = place;
    };
    const buttons = lengths.map((_, i) => {
      const one = make('button', 'bark-key');
      one.type = 'button';
      one.tabIndex = i ? -1 : 0;
      one.title = name + ' ' + i;
      one.setAttribute('aria-label', one.title);
      if (node.dataset.levels) one.style.setProperty('--level', node.dataset.levels[i] / 9);
      one.addEventListener('click', () => press(i));
      one.addEventListener('focus', () => buttons.forEach((other) => { other.tabIndex = other === one ? 0 : -1; }));
      return one;
    });
    keys.style.setProperty('--columns', columns);
    keys.replaceChildren(...buttons);
    const moves = {ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns};
    keys.addEventListener('keydown', (event) => {
      const next = buttons[buttons.indexOf(event.target) + moves[event.key]];
      if (!next) return;
      event.preventDefault();
      event.stopPropagation();
      next.focus();
      next.click();
    });
    audio.controls = false;
  };

  const kinds = {player, steps, keyboard};
  all(root, '[data-bark]').forEach((node) => kinds[node.dataset.bark](node));
}
