// SPDX-License-Identifier: Apache-2.0
//
// A world whose server stands on the disk of unsynced.c: power() takes away
// what was never synced, switches break the disk while the server runs.
import { mkdirSync, readFileSync, writeFileSync, existsSync, rmSync, renameSync, copyFileSync, chmodSync, openSync, writeSync, closeSync } from 'node:fs';
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { World, until } from '../e2e/harness.mjs';

export { until };
const program = process.env.BAILIFF;
const SWITCHES = { lie: 0, full: 1, syncError: 2 };

export class Disk {
  static async make(options = {}) {
    const disk = new Disk();
    disk.world = await World.make({ settings: 'segment_bytes = 1048576;\n', ...options });
    disk.shadow = join(disk.world.dir, 'durable');
    return disk;
  }

  // The server again, with all that is in its state counted as durable.
  async serve(switches = []) {
    rmSync(this.shadow, { recursive: true, force: true });
    mkdirSync(this.shadow);
    const control = Buffer.alloc(4096);
    for (const name of switches) control[SWITCHES[name]] = 1;
    writeFileSync(join(this.shadow, 'control'), control);
    const { world } = this;
    world.env = { LD_PRELOAD: process.env.UNSYNCED, UNSYNCED_DIR: world.state, UNSYNCED_SHADOW: this.shadow };
    await world.serve();
  }

  set(name, on) {
    const file = openSync(join(this.shadow, 'control'), 'r+');
    writeSync(file, Buffer.from([on ? 1 : 0]), 0, 1, SWITCHES[name]);
    closeSync(file);
  }

  async kill() {
    this.world.server.kill('SIGKILL');
    await this.world.server.ended;
    this.world.logs += this.world.server.log;
  }

  // Puts in the place of the state what a power loss would have left of it.
  power() {
    const { world, shadow } = this;
    const build = (key, to, depth) => {
      mkdirSync(to, { mode: 0o700 });
      const list = join(shadow, `dir.${key}`);
      const lines = existsSync(list) ? readFileSync(list, 'utf8').split('\n').filter(Boolean) : [];
      for (const line of lines) {
        const [, type, mode, other, name] = line.match(/^(.) (\d+) (\S+) (.*)$/);
        const path = join(to, name), bytes = join(shadow, `file.${other}`);
        if (type === 'd') build(other, path, depth + 1);
        else if (existsSync(bytes)) copyFileSync(bytes, path);
        else writeFileSync(path, ''); // created, its bytes never synced
        chmodSync(path, parseInt(mode, 8));
      }
    };
    const fresh = join(world.dir, 'left');
    build(readFileSync(join(shadow, 'root'), 'utf8'), fresh, 0);
    rmSync(world.state, { recursive: true });
    renameSync(fresh, world.state);
  }

  attempt(...args) {
    const done = spawnSync(program, ['-C', this.world.state, ...args], { encoding: 'utf8' });
    return { code: done.status, text: done.stdout + done.stderr };
  }

  // What `serve` says that does not start.
  refusal() {
    const done = spawnSync(program, ['serve', this.world.state], { encoding: 'utf8', timeout: 20000 });
    return { code: done.status, text: done.stdout + done.stderr };
  }

  end() {
    this.world.server.kill('SIGKILL');
    this.world.engine.kill('SIGKILL');
    rmSync(this.world.dir, { recursive: true, force: true });
  }
}
