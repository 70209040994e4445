// CUDA as far as the kernels use it, on one thread of a CPU: for tests of their numerics.
//
// Blocks run one after the other. The threads of a block are fibres that run until they wait for one
// another; VNN_SHIM_REVERSE=1 runs them in the opposite order, which changes what a missing barrier
// yields. Shared memory is poisoned before every block and has exactly the size asked for.
#pragma once
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

#include <vector>

#define VNN_INLINE inline
#define VNN_DEVICE inline
#define VNN_SHARED(name) unsigned char* name = shim::shared_memory

struct Index { unsigned x; };
static Index threadIdx, blockIdx, blockDim, gridDim;

namespace shim {

constexpr size_t STACK = 256 * 1024;
constexpr unsigned WARP = 32;

struct Barrier { unsigned arrived = 0, round = 0; };
struct Fibre { ucontext_t first; jmp_buf at; bool started = false; };
struct Exchange { double value[2]; unsigned turn = 0; };  // two, so that a slow reader is not overtaken

static std::vector<Fibre*> idle;       // fibres whose thread has returned; they are used again
static std::vector<Fibre*> waiting;    // the fibre of every thread that waits
static std::vector<Barrier> barriers;  // one per warp, then one for the block
static std::vector<unsigned> alive;    // threads that have not returned, likewise
static std::vector<Exchange> exchange; // one per thread
static jmp_buf scheduler;
static Fibre* running;
static unsigned char* shared_memory;
static void (*body)(const void*);
static const void* arguments;

inline void release_if_complete(unsigned which) {
  Barrier& barrier = barriers[which];
  if (barrier.arrived && barrier.arrived == alive[which]) { barrier.arrived = 0; ++barrier.round; }
}

inline __attribute__((noinline)) void to_scheduler() {
  if (!_setjmp(running->at)) _longjmp(scheduler, 1);
}

inline void wait(unsigned which) {
  const unsigned self = threadIdx.x, round = barriers[which].round;
  ++barriers[which].arrived;
  release_if_complete(which);
  while (barriers[which].round == round) {
    waiting[self] = running;
    to_scheduler();
  }
}

inline void warp_barrier() { wait(threadIdx.x / WARP); }

inline void run_threads() {
  for (;;) {
    body(arguments);
    const unsigned warp = threadIdx.x / WARP, block = unsigned(barriers.size()) - 1;
    --alive[warp];
    --alive[block];
    release_if_complete(warp);
    release_if_complete(block);
    idle.push_back(running);
    to_scheduler();
  }
}

inline __attribute__((noinline)) void run(unsigned thread) {
  if (waiting[thread]) {
    running = waiting[thread];
    waiting[thread] = nullptr;
  } else {
    if (idle.empty()) idle.push_back(new Fibre());
    running = idle.back();
    idle.pop_back();
  }
  threadIdx.x = thread;
  if (_setjmp(scheduler)) return;
  if (running->started) _longjmp(running->at, 1);
  running->started = true;
  getcontext(&running->first);
  running->first.uc_stack.ss_sp = malloc(STACK);
  running->first.uc_stack.ss_size = STACK;
  makecontext(&running->first, run_threads, 0);
  setcontext(&running->first);
}

inline void launch(void (*kernel)(const void*), const void* args, unsigned grid, unsigned block, unsigned shared) {
  body = kernel;
  arguments = args;
  const bool reverse = getenv("VNN_SHIM_REVERSE") != nullptr;
  const unsigned warps = (block + WARP - 1) / WARP;
  blockDim.x = block;
  gridDim.x = grid;
  shared_memory = static_cast<unsigned char*>(aligned_alloc(16, (shared + 16) / 16 * 16));
  for (blockIdx.x = 0; blockIdx.x < grid; ++blockIdx.x) {
    memset(shared_memory, 0xff, shared);
    barriers.assign(warps + 1, Barrier());
    alive.assign(warps + 1, WARP);
    alive[warps - 1] = block - (warps - 1) * WARP;
    alive[warps] = block;
    exchange.assign(warps * WARP, Exchange());
    waiting.assign(block, nullptr);
    for (bool first = true; first || alive[warps]; first = false)
      for (unsigned step = 0; step < block; ++step) {
        const unsigned thread = reverse ? block - 1 - step : step;
        if (first || waiting[thread]) run(thread);
      }
  }
  free(shared_memory);
}

template <class T>
inline T shuffle(T value, unsigned lane) {
  static_assert(sizeof(T) <= sizeof(double), "a value fits its slot");
  const unsigned self = threadIdx.x, turn = exchange[self].turn++ % 2;
  memcpy(&exchange[self].value[turn], &value, sizeof(T));
  warp_barrier();
  T other;
  memcpy(&other, &exchange[self / WARP * WARP + lane].value[turn], sizeof(T));
  return other;
}

}  // namespace shim

template <class T>
inline T shuffle_xor(T value, int mask) { return shim::shuffle(value, threadIdx.x % shim::WARP ^ unsigned(mask)); }
template <class T>
inline T shuffle(T value, int lane) { return shim::shuffle(value, unsigned(lane)); }
inline void warp_sync() { shim::warp_barrier(); }

#define VNN_KERNEL(symbol, Arguments, ...)                                                                   \
  extern "C" void symbol(const void* arguments, unsigned grid, unsigned block, unsigned shared) {            \
    shim::launch([](const void* a) { __VA_ARGS__(*static_cast<const Arguments*>(a)); }, arguments, grid, block, shared); \
  }                                                                                                          \
  extern "C" unsigned symbol##_bytes() { return sizeof(Arguments); }
