// Pools planes of odd sizes with every set of kernels this processor has, in arrays of exactly their size, against plain
// loops; forms that do not fit are refused.
#include <cmath>
#include <cstdio>

#include "max_pool.cc"

namespace {

struct Form {
  int32_t kernel, stride, margin;
};

using Values = std::vector<float>;

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

bool run(const Form &form, int64_t planes, int64_t height, int64_t width) {
  const int64_t out_height = ceil_div(height, form.stride), out_width = ceil_div(width, form.stride);
  Values x(planes * height * width), dout(planes * out_height * out_width), out(dout.size()), dx(x.size());
  for (size_t i = 0; i < x.size(); i++) x[i] = static_cast<float>((i * 7919) % 13);
  for (size_t i = 0; i < dout.size(); i++) dout[i] = 1.0f + static_cast<float>(i % 5);

  Values wanted(out.size()), gradient(x.size());
  for (int64_t p = 0; p < planes; p++) {
    for (int64_t i = 0; i < out_height; i++) {
      for (int64_t j = 0; j < out_width; j++) {
        int64_t place = -1;
        for (int64_t y = i * form.stride - form.margin; y < i * form.stride - form.margin + form.kernel; y++) {
          for (int64_t z = j * form.stride - form.margin; z < j * form.stride - form.margin + form.kernel; z++) {
            if (y < 0 || z < 0 || y >= height || z >= width) continue;
            const int64_t at = (p * height + y) * width + z;
            if (place < 0 || x[at] > x[place]) place = at;
          }
        }
        const int64_t to = (p * out_height + i) * out_width + j;
        wanted[to] = x[place];
        gradient[place] += dout[to];
      }
    }
  }

  int32_t numbers[3] = {form.kernel, form.stride, form.margin};
  int64_t of_form[1] = {3}, of_x[4] = {1, planes, height, width}, of_out[4] = {1, planes, out_height, out_width};
  void *forward[] = {numbers, x.data(), out.data()};
  int ndims[] = {1, 4, 4, 4};
  int64_t *shapes[] = {of_form, of_x, of_out, of_x};
  const char *dtypes[] = {"int32", "float32", "float32", "float32"};
  if (MaxPool(3, forward, ndims, shapes, dtypes, nullptr, nullptr) != 0 || out != wanted) return false;
  void *backward[] = {numbers, x.data(), dout.data(), dx.data()};
  if (MaxPoolGradient(4, backward, ndims, shapes, dtypes, nullptr, nullptr) != 0 || dx != gradient) return false;

  Values columns(width);
  std::vector<int32_t> places(out_width);
  Pool pool;
  if (!read_pool(forward, ndims, shapes, dtypes, 2, &pool)) return false;
  std::vector<Kernels> all = {{portable::pool_plane, portable::gradient_plane}};
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
    all.push_back({avx2::pool_plane, avx2::gradient_plane});
  }
  if (__builtin_cpu_supports("avx512f")) all.push_back({avx512::pool_plane, avx512::gradient_plane});
#endif
  for (const Kernels &set : all) {
    std::fill(out.begin(), out.end(), -1.0f);
    std::fill(dx.begin(), dx.end(), 0.0f);
    for (int64_t p = 0; p < planes; p++) {
      set.pool(pool, x.data() + p * height * width, columns.data(), out.data() + p * out_height * out_width);
      set.gradient(pool, x.data() + p * height * width, dout.data() + p * out_height * out_width, places.data(),
                   dx.data() + p * height * width);
    }
    if (out != wanted || dx != gradient) return false;
  }

  of_out[3] += 2;  // the last window would begin behind x
  if (MaxPool(3, forward, ndims, shapes, dtypes, nullptr, nullptr) == 0) return false;
  numbers[2] = form.kernel;
  of_out[3] -= 2;
  return MaxPool(3, forward, ndims, shapes, dtypes, nullptr, nullptr) != 0;
}

}  // namespace

int main() {
  const Form forms[] = {{3, 2, 1}, {2, 2, 0}, {5, 4, 2}, {4, 4, 0}, {3, 3, 1}};
  const int64_t sizes[][2] = {{1, 1}, {2, 2}, {1, 7}, {7, 1}, {3, 3}, {17, 33}, {64, 66}};
  for (const Form &form : forms) {
    for (const auto &size : sizes) {
      for (const int64_t planes : {1, 9}) {
        if (!run(form, planes, size[0], size[1])) {
          fprintf(stderr, "%d x %d, stride %d of %ld x %ld\n", form.kernel, form.kernel, form.stride,
                  static_cast<long>(size[0]), static_cast<long>(size[1]));
          return 1;
        }
      }
    }
  }
  puts("all right");
  return 0;
}
