// What oneDNN's own convolutions reach in the layouts that it chooses, without the passes that bring tensors into them.
//
//   python -m venv V && V/bin/pip install onednn onednn-devel
//   g++ -O2 -std=c++17 -IV/include benchmarks/onednn_convolution.cc -o onednn_convolution -LV/lib -ldnnl \
//       -Wl,-rpath,V/lib -Wl,--allow-shlib-undefined
//   LD_LIBRARY_PATH=V/lib taskset -c 0,1 ./onednn_convolution
//
// Milliseconds of the forward pass, the input's gradient and the weights' gradient: medians of 15 after three calls.
// Inputs, weights and gradients are in each primitive's layout already, which a network would have to keep throughout.

#include <oneapi/dnnl/dnnl.hpp>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <string>
#include <unordered_map>
#include <vector>

namespace {

using dnnl::algorithm;
using dnnl::memory;

struct Case {
  const char *name;
  memory::dim batch, ins, outs, kernel, stride, size;
};

// As in convolution.py.
const Case kCases[] = {
    {"stem_7x7/2_800", 1, 3, 64, 7, 2, 800},       {"layer1_3x3_200", 1, 64, 64, 3, 1, 200},
    {"layer1_1x1_200_reduce", 1, 256, 64, 1, 1, 200}, {"layer2_3x3/2_200", 1, 128, 128, 3, 2, 200},
    {"layer3_3x3_50", 1, 256, 256, 3, 1, 50},      {"layer4_3x3_25", 1, 512, 512, 3, 1, 25},
    {"fpn_3x3_200", 1, 256, 256, 3, 1, 200},       {"fpn_3x3_80", 1, 256, 256, 3, 1, 80},
    {"fpn_3x3_20", 1, 256, 256, 3, 1, 20},         {"fpn_3x3_13", 1, 256, 256, 3, 1, 13},
    {"mask_3x3_100x14", 100, 256, 256, 3, 1, 14},
};

memory::desc Any(const memory::dims &dims) {
  return {dims, memory::data_type::f32, memory::format_tag::any};
}

memory Filled(const memory::desc &desc, const dnnl::engine &engine) {
  memory made(desc, engine);
  auto *values = static_cast<float *>(made.get_data_handle());
  for (size_t i = 0; i < desc.get_size() / sizeof(float); ++i) values[i] = static_cast<float>(i * 7919 % 1000) / 1000;
  return made;
}

double Milliseconds(const dnnl::primitive &primitive, const std::unordered_map<int, memory> &arguments,
                    dnnl::stream &stream) {
  std::vector<double> times;
  for (int turn = -3; turn < 15; ++turn) {
    const auto start = std::chrono::steady_clock::now();
    primitive.execute(stream, arguments);
    stream.wait();
    const std::chrono::duration<double, std::milli> passed = std::chrono::steady_clock::now() - start;
    if (turn >= 0) times.push_back(passed.count());
  }
  std::sort(times.begin(), times.end());
  return times[times.size() / 2];
}

void Measure(const Case &one, const dnnl::engine &engine, dnnl::stream &stream) {
  const memory::dim padding = one.kernel / 2, out = (one.size + 2 * padding - one.kernel) / one.stride + 1;
  const auto x = Any({one.batch, one.ins, one.size, one.size});
  const auto weight = Any({one.outs, one.ins, one.kernel, one.kernel});
  const auto y = Any({one.batch, one.outs, out, out});
  const memory::dims strides{one.stride, one.stride}, pads{padding, padding};
  const auto direct = algorithm::convolution_auto;
  const dnnl::convolution_forward::primitive_desc forward(engine, dnnl::prop_kind::forward_training, direct, x, weight,
                                                          y, strides, pads, pads);
  const dnnl::convolution_backward_data::primitive_desc to_input(engine, direct, x, weight, y, strides, pads, pads,
                                                                 forward);
  const dnnl::convolution_backward_weights::primitive_desc to_weight(engine, direct, x, weight, y, strides, pads, pads,
                                                                     forward);
  const double t_forward = Milliseconds(dnnl::convolution_forward(forward),
                                        {{DNNL_ARG_SRC, Filled(forward.src_desc(), engine)},
                                         {DNNL_ARG_WEIGHTS, Filled(forward.weights_desc(), engine)},
                                         {DNNL_ARG_DST, Filled(forward.dst_desc(), engine)}},
                                        stream);
  const double t_input = Milliseconds(dnnl::convolution_backward_data(to_input),
                                      {{DNNL_ARG_DIFF_DST, Filled(to_input.diff_dst_desc(), engine)},
                                       {DNNL_ARG_WEIGHTS, Filled(to_input.weights_desc(), engine)},
                                       {DNNL_ARG_DIFF_SRC, Filled(to_input.diff_src_desc(), engine)}},
                                      stream);
  const double t_weight = Milliseconds(dnnl::convolution_backward_weights(to_weight),
                                       {{DNNL_ARG_SRC, Filled(to_weight.src_desc(), engine)},
                                        {DNNL_ARG_DIFF_DST, Filled(to_weight.diff_dst_desc(), engine)},
                                        {DNNL_ARG_DIFF_WEIGHTS, Filled(to_weight.diff_weights_desc(), engine)}},
                                       stream);
  const double flops = 2e-6 * static_cast<double>(one.batch * one.ins * one.outs * one.kernel * one.kernel * out * out);
  std::printf("%-24s %8.2f %8.2f %8.2f   %5.0f %5.0f %5.0f   %s\n", one.name, t_forward, t_input, t_weight,
              flops / t_forward, flops / t_input, flops / t_weight, forward.impl_info_str());
}

}  // namespace

int main() {
  const dnnl::engine engine(dnnl::engine::kind::cpu, 0);
  dnnl::stream stream(engine);
  const dnnl_version_t *version = dnnl_version();
  std::printf("oneDNN %d.%d.%d\n%-24s %8s %8s %8s   GFLOP/s\n", version->major, version->minor, version->patch, "",
              "forward", "input", "weights");
  for (const Case &one : kCases) Measure(one, engine, stream);
}
