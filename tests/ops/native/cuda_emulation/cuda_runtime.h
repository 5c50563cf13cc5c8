// Enough of CUDA to run the kernels of roi_align.cu on the CPU: the threads of a block are coroutines that take turns
// at barriers, blocks run one after the other, device pointers are host pointers.
#pragma once

#include <ucontext.h>

#include <algorithm>
#include <cstddef>
#include <functional>
#include <memory>
#include <vector>

#define __global__ static
#define __device__
#define __host__
#define __shared__ static
#define __launch_bounds__(threads)
#define ROI_LAUNCH(kernel, grid, threads, stream) emulation::Launcher<decltype(&kernel)>{&kernel, grid, threads}

struct dim3 {
  unsigned x = 1, y = 1, z = 1;
  dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
};
typedef void *cudaStream_t;
enum cudaError_t { cudaSuccess = 0 };
inline cudaError_t cudaGetLastError() { return cudaSuccess; }
using std::min;

inline dim3 threadIdx, blockIdx;

namespace emulation {

struct Thread {
  ucontext_t context;
  std::vector<char> stack = std::vector<char>(64 << 10);
  bool finished = false;
};

inline std::vector<std::unique_ptr<Thread>> threads;
inline size_t current;
inline ucontext_t scheduler;
inline std::function<void()> body;
inline std::vector<bool> votes;

inline void run_thread() {
  body();
  threads[current]->finished = true;
}

// Runs every thread of the block, from barrier to barrier, to its end.
inline void run_block(unsigned count) {
  while (threads.size() < count) threads.push_back(std::make_unique<Thread>());
  for (unsigned t = 0; t < count; t++) {
    Thread &thread = *threads[t];
    thread.finished = false;
    getcontext(&thread.context);
    thread.context.uc_stack.ss_sp = thread.stack.data();
    thread.context.uc_stack.ss_size = thread.stack.size();
    thread.context.uc_link = &scheduler;
    makecontext(&thread.context, run_thread, 0);
  }
  for (bool running = true; running;) {
    running = false;
    for (unsigned t = 0; t < count; t++) {
      if (threads[t]->finished) continue;
      current = t;
      threadIdx.x = t;
      swapcontext(&scheduler, &threads[t]->context);
      running = true;
    }
  }
}

template <typename Kernel>
struct Launcher {
  Kernel kernel;
  dim3 grid;
  unsigned threads;

  template <typename... Arguments>
  void operator()(Arguments... arguments) const {
    body = [=, this] { kernel(arguments...); };
    for (blockIdx.z = 0; blockIdx.z < grid.z; blockIdx.z++) {
      for (blockIdx.y = 0; blockIdx.y < grid.y; blockIdx.y++) {
        for (blockIdx.x = 0; blockIdx.x < grid.x; blockIdx.x++) run_block(threads);
      }
    }
  }
};

}  // namespace emulation

inline void __syncthreads() {
  using namespace emulation;
  swapcontext(&threads[current]->context, &scheduler);
}

// All threads of the block must take part, which is stricter than CUDA.
inline unsigned __ballot_sync(unsigned, bool vote) {
  emulation::votes.resize(1024);
  emulation::votes[threadIdx.x] = vote;
  __syncthreads();
  unsigned mask = 0;
  for (unsigned lane = 0; lane < 32; lane++) mask |= unsigned{emulation::votes[threadIdx.x / 32 * 32 + lane]} << lane;
  __syncthreads();
  return mask;
}

inline int __popc(unsigned bits) { return __builtin_popcount(bits); }
