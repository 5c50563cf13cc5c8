// The functions of CUDA's run time that do more than succeed. Memory is the host's.
#include <stdlib.h>
#include <string.h>

// Of CUDA 11; MindSpore reads no further.
struct properties {
  char name[256], uuid[16], luid[8];
  unsigned luid_mask;
  size_t memory, shared_memory;
  int registers, warp;
  size_t pitch;
  int threads, block[3], grid[3], clock;
  size_t constant_memory;
  int major, minor;
  size_t texture, texture_pitch;
  int overlap, processors, others[75];
};

int cudaGetDeviceCount(int *count) { *count = 1; return 0; }
int cudaGetDevice(int *device) { *device = 0; return 0; }
int cudaGetDeviceProperties(struct properties *p, int device) {
  memset(p, 0, sizeof(*p));
  strcpy(p->name, "pretended");
  p->memory = 8ul << 30;
  p->shared_memory = 49152;
  p->registers = p->constant_memory = 65536;
  p->warp = 32;
  p->pitch = 1 << 30;
  p->threads = p->block[0] = p->block[1] = 1024;
  p->block[2] = 64;
  p->grid[0] = 2147483647;
  p->grid[1] = p->grid[2] = 65535;
  p->clock = 1000000;
  p->major = 9;
  p->texture = 512;
  p->processors = 132;
  for (int i = 0; i < 75; i++) p->others[i] = 2048;
  return 0;
}
int cudaMemGetInfo(size_t *left, size_t *all) { *left = 12ul << 30; *all = 13ul << 30; return 0; }
int cudaMalloc(void **to, size_t size) { *to = calloc(1, size ? size : 1); return 0; }
int cudaHostAlloc(void **to, size_t size, unsigned flags) { *to = calloc(1, size ? size : 1); return 0; }
int cudaFree(void *memory) { free(memory); return 0; }
int cudaFreeHost(void *memory) { free(memory); return 0; }
int cudaMemcpy(void *to, const void *from, size_t size, int kind) { memcpy(to, from, size); return 0; }
int cudaMemcpyAsync(void *to, const void *from, size_t size, int kind, void *stream) { memcpy(to, from, size); return 0; }
int cudaMemset(void *to, int value, size_t size) { memset(to, value, size); return 0; }
int cudaMemsetAsync(void *to, int value, size_t size, void *stream) { memset(to, value, size); return 0; }
int cudaEventElapsedTime(float *ms, void *first, void *last) { *ms = 1; return 0; }
