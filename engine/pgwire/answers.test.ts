/** Rules 25 and 26: an answer leaves once nothing that it rests on can be lost, and no other engine can have taken over. */
import { describe, expect, it } from 'vitest';
import { FLAG_CPL } from '#core/redo/record.js';
import { SextantError } from '#core/errors.js';
import { AnswerGate } from '../session/answer-gate.js';
import { MemoryVolume } from '../volume/memory-volume.js';
import { Answers } from './answers.js';
import type { Wire } from './wire.js';

class MemoryWire implements Wire {
  readonly remote = 'test';
  readonly isLoopback = true;
  queuedBytes = 0;
  sent = '';
  ended = false;
  takesAll = true;

  write(bytes: Buffer): boolean {
    this.sent += bytes.toString();
    if (!this.takesAll) this.queuedBytes += bytes.length;
    return this.takesAll;
  }

  pause(): void {}
  resume(): void {}
  destroy(): void {}
  end(): void {
    this.ended = true;
  }
}

class LeasedVolume extends MemoryVolume {
  confirmedNow = true;
  confirms: { resolve: () => void; reject: (error: Error) => void }[] = [];

  override confirmedWithin(): boolean {
    return this.confirmedNow && this.failure === undefined;
  }

  override confirm(): Promise<void> {
    return new Promise((resolve, reject) => this.confirms.push({ resolve, reject }));
  }
}

function appendOne(volume: MemoryVolume): number {
  return volume.append(1, FLAG_CPL, 0, new Uint8Array([4, 1]), 0, 2);
}

function setUp(): {
  volume: LeasedVolume;
  wire: MemoryWire;
  answers: Answers;
  say: (text: string, lsn: number) => void;
} {
  const volume = new LeasedVolume({ manual: true });
  const wire = new MemoryWire();
  const answers = new Answers(new AnswerGate(volume), wire);
  const say = (text: string, lsn: number): void => {
    answers.output.text(text);
    answers.flush(lsn);
  };
  return { volume, wire, answers, say };
}

describe('answers', () => {
  it('leave at once when all they rest on is durable', () => {
    const { wire, say } = setUp();
    say('a', 0);
    expect(wire.sent).toBe('a');
  });

  it('wait for VDL, and those behind them wait too, in order', () => {
    const { volume, wire, say } = setUp();
    const first = appendOne(volume);
    const second = appendOne(volume);
    say('a', second);
    say('b', 0);
    say('c', first);
    volume.advance(first);
    expect(wire.sent).toBe('');
    volume.advance(second);
    expect(wire.sent).toBe('abc');
    say('d', second);
    expect(wire.sent).toBe('abcd');
  });

  it('do not go out with what is gathered behind a batch that waits', () => {
    const { volume, wire, answers, say } = setUp();
    const lsn = appendOne(volume);
    say('a', lsn);
    answers.output.text('half');
    volume.advance(lsn);
    expect(wire.sent).toBe('a');
  });

  it('wait for the confirmation of this epoch, however often it fails', async () => {
    const { volume, wire, say } = setUp();
    volume.confirmedNow = false;
    say('a', 0);
    expect(wire.sent).toBe('');
    volume.confirms[0]!.reject(new SextantError('NO_QUORUM', 'too few'));
    await Promise.resolve();
    await Promise.resolve();
    expect(wire.sent).toBe('');
    expect(volume.confirms).toHaveLength(2);
    volume.confirmedNow = true;
    volume.confirms[1]!.resolve();
    await Promise.resolve();
    await Promise.resolve();
    expect(wire.sent).toBe('a');
  });

  it('are lost with the volume: a fenced engine says nothing more of its data', () => {
    const { volume, wire, answers, say } = setUp();
    let lost: Error | undefined;
    answers.onLost = (error) => {
      lost = error;
    };
    say('a', appendOne(volume));
    volume.fail();
    expect(lost).toMatchObject({ code: 'FENCED' });
    expect(wire.sent).toBe('');
    say('b', 0);
    expect(wire.sent).toBe('');
  });

  it('close after the last held one', () => {
    const { volume, wire, answers, say } = setUp();
    const lsn = appendOne(volume);
    say('a', lsn);
    answers.end();
    expect(wire.ended).toBe(false);
    volume.advance();
    expect(wire).toMatchObject({ sent: 'a', ended: true });
  });

  it('tell when they are too many and when there is room again', () => {
    const { wire, answers, say } = setUp();
    let drained = 0;
    answers.onDrained = () => drained++;
    wire.takesAll = false;
    expect(answers.isFull).toBe(false);
    say('x'.repeat(2 * 1024 * 1024), 0);
    expect(answers.isFull).toBe(true);
    answers.drained();
    expect(drained).toBe(0);
    wire.queuedBytes = 0;
    answers.drained();
    expect(drained).toBe(1);
  });
});
