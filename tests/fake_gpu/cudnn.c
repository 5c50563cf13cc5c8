// The functions of cuDNN that do more than succeed: none needs memory of its own, and each convolution has an algorithm.
#include <stddef.h>
#include <string.h>

size_t cudnnGetVersion(void) { return 8906; }
const char *cudnnGetErrorString(int code) { return "pretended"; }
int cudnnGetTensorSizeInBytes(void *tensor, size_t *size) { *size = 1024; return 0; }
int cudnnGetFilterSizeInBytes(void *filter, size_t *size) { *size = 1024; return 0; }

static int algorithm(int *found, int *result) {
  *found = 1;
  memset(result, 0, 8 * sizeof(int));
  result[0] = 1;
  return 0;
}
#define ALGORITHM(name)                                                                                           \
  int name(void *handle, void *a, void *b, void *c, void *d, int wanted, int *found, int *result) {               \
    return algorithm(found, result);                                                                              \
  }
ALGORITHM(cudnnGetConvolutionForwardAlgorithm_v7)
ALGORITHM(cudnnGetConvolutionBackwardDataAlgorithm_v7)
ALGORITHM(cudnnGetConvolutionBackwardFilterAlgorithm_v7)
ALGORITHM(cudnnFindConvolutionForwardAlgorithm)
ALGORITHM(cudnnFindConvolutionBackwardDataAlgorithm)
ALGORITHM(cudnnFindConvolutionBackwardFilterAlgorithm)

#define WORKSPACE(name) \
  int name(void *handle, void *a, void *b, void *c, void *d, int algorithm, size_t *size) { *size = 0; return 0; }
WORKSPACE(cudnnGetConvolutionForwardWorkspaceSize)
WORKSPACE(cudnnGetConvolutionBackwardDataWorkspaceSize)
WORKSPACE(cudnnGetConvolutionBackwardFilterWorkspaceSize)

int cudnnGetReductionWorkspaceSize(void *h, void *d, void *a, void *b, size_t *size) { *size = 0; return 0; }
int cudnnGetReductionIndicesSize(void *h, void *d, void *a, void *b, size_t *size) { *size = 0; return 0; }
int cudnnGetBatchNormalizationForwardTrainingExWorkspaceSize(void *h, int m, int o, void *x, void *z, void *y, void *b,
                                                             void *a, size_t *size) {
  *size = 0;
  return 0;
}
int cudnnGetBatchNormalizationBackwardExWorkspaceSize(void *h, int m, int o, void *x, void *y, void *dy, void *dz,
                                                      void *dx, void *b, void *a, size_t *size) {
  *size = 0;
  return 0;
}
int cudnnGetBatchNormalizationTrainingExReserveSpaceSize(void *h, int m, int o, void *a, void *x, size_t *size) {
  *size = 0;
  return 0;
}
