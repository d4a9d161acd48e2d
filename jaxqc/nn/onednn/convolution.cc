// Convolutions of oneDNN as calls of XLA (jax.ffi): a convolution and its two gradients, float32, NHWC and HWIO.
//
// oneDNN lays a kernel out in its own way. A call writes it so, runs, and writes a gradient back as XLA wants it. What
// oneDNN generates for one geometry is a plan; plans are made once and kept for the life of the process.

#include <cstdint>
#include <cstdlib>
#include <exception>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "dnnl.hpp"
#include "xla/ffi/api/ffi.h"

namespace ffi = xla::ffi;
using dnnl::memory;

namespace {

enum Work : int64_t { kConvolve = 0, kInputGradient = 1, kKernelGradient = 2 };

// Sizes and steps of one convolution: images [n h w i], kernel [kh kw i/groups o], outputs [n oh ow o].
struct Geometry {
  int64_t n, h, w, i, kh, kw, oh, ow, o, stride, dilation, groups, top, left;
  std::vector<int64_t> key() const { return {n, h, w, i, kh, kw, oh, ow, o, stride, dilation, groups, top, left}; }
};

struct Plan {
  dnnl::primitive run, reorder;
  memory::desc image, output, kernel, packed, scratch;
  bool reordered;
  std::string implementation;
};

const dnnl::engine& engine() {
  static const dnnl::engine cpu(dnnl::engine::kind::cpu, 0);
  return cpu;
}

// What XLA holds: HWIO in C order. A grouped kernel has the group as its slowest part of the outputs.
memory::desc kernel_desc(const Geometry& g, bool any) {
  const auto f32 = memory::data_type::f32;
  const int64_t inputs = g.i / g.groups, outputs = g.o / g.groups;
  memory::dims sizes{outputs, inputs, g.kh, g.kw};
  memory::dims strides{1, g.o, g.kw * inputs * g.o, inputs * g.o};
  if (g.groups > 1) {
    sizes.insert(sizes.begin(), g.groups);
    strides.insert(strides.begin(), outputs);
  }
  return any ? memory::desc(sizes, f32, memory::format_tag::any) : memory::desc(sizes, f32, strides);
}

template <class Description>
void take(Plan* plan, const Description& description, const memory::desc& packed) {
  plan->run = dnnl::primitive(description.get());
  plan->packed = packed;
  plan->scratch = description.scratchpad_desc();
  plan->implementation = description.impl_info_str();
}

std::shared_ptr<Plan> make(Work work, const Geometry& g) {
  const auto f32 = memory::data_type::f32;
  auto plan = std::make_shared<Plan>();
  plan->image = memory::desc({g.n, g.i, g.h, g.w}, f32, memory::format_tag::nhwc);
  plan->output = memory::desc({g.n, g.o, g.oh, g.ow}, f32, memory::format_tag::nhwc);
  plan->kernel = kernel_desc(g, false);
  const auto any = kernel_desc(g, true);
  const memory::dims strides{g.stride, g.stride}, dilates{g.dilation - 1, g.dilation - 1}, before{g.top, g.left};
  const auto after = [&](int64_t size, int64_t out, int64_t k, int64_t start) {
    return (out - 1) * g.stride + (k - 1) * g.dilation + 1 - size - start;
  };
  const memory::dims behind{after(g.h, g.oh, g.kh, g.top), after(g.w, g.ow, g.kw, g.left)};
  dnnl::primitive_attr own_scratch;
  own_scratch.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  const auto direct = dnnl::algorithm::convolution_direct;
  const dnnl::convolution_forward::primitive_desc forward(
      engine(), work == kConvolve ? dnnl::prop_kind::forward_inference : dnnl::prop_kind::forward_training, direct,
      plan->image, any, plan->output, strides, dilates, before, behind, own_scratch);
  if (work == kConvolve) {
    take(plan.get(), forward, forward.weights_desc());
  } else if (work == kInputGradient) {
    const dnnl::convolution_backward_data::primitive_desc backward(
        engine(), direct, plan->image, any, plan->output, strides, dilates, before, behind, forward, own_scratch);
    take(plan.get(), backward, backward.weights_desc());
  } else {
    const dnnl::convolution_backward_weights::primitive_desc backward(
        engine(), direct, plan->image, any, plan->output, strides, dilates, before, behind, forward, own_scratch);
    take(plan.get(), backward, backward.diff_weights_desc());
  }
  plan->reordered = plan->packed != plan->kernel;
  if (plan->reordered) {
    const bool back = work == kKernelGradient;
    plan->reorder = dnnl::reorder(dnnl::reorder::primitive_desc(
        engine(), back ? plan->packed : plan->kernel, engine(), back ? plan->kernel : plan->packed));
  }
  return plan;
}

std::shared_ptr<Plan> plan_of(Work work, const Geometry& g) {
  static std::mutex mutex;
  static std::map<std::vector<int64_t>, std::shared_ptr<Plan>> plans;
  auto key = g.key();
  key.push_back(work);
  const std::lock_guard<std::mutex> lock(mutex);
  auto& plan = plans[key];
  if (!plan) plan = make(work, g);
  return plan;
}

// Working memory of a thread: it grows to the largest plan's and is used again. Calls of two threads may overlap.
class Room {
 public:
  void* of(size_t bytes) {
    if (bytes > size_) {
      std::free(data_);
      size_ = (bytes + kLine - 1) / kLine * kLine;
      data_ = std::aligned_alloc(kLine, size_);
      if (!data_) {
        size_ = 0;
        throw std::bad_alloc();
      }
    }
    return data_;
  }
  ~Room() { std::free(data_); }

 private:
  static constexpr size_t kLine = 64;
  void* data_ = nullptr;
  size_t size_ = 0;
};

ffi::Error run(Work work, const Geometry& g, void* image, void* kernel, void* output) {
  try {
    const auto plan = plan_of(work, g);
    thread_local Room scratch_room, packed_room;
    dnnl::stream stream(engine());
    const memory images(plan->image, engine(), image), outputs(plan->output, engine(), output);
    const memory plain(plan->kernel, engine(), kernel);
    const memory scratch(plan->scratch, engine(), scratch_room.of(plan->scratch.get_size()));
    const memory packed =
        plan->reordered ? memory(plan->packed, engine(), packed_room.of(plan->packed.get_size())) : plain;
    const auto reorder = [&](const memory& from, const memory& to) {
      if (plan->reordered) plan->reorder.execute(stream, {{DNNL_ARG_FROM, from}, {DNNL_ARG_TO, to}});
    };
    if (work != kKernelGradient) reorder(plain, packed);
    if (work == kConvolve) {
      plan->run.execute(stream, {{DNNL_ARG_SRC, images},
                                 {DNNL_ARG_WEIGHTS, packed},
                                 {DNNL_ARG_DST, outputs},
                                 {DNNL_ARG_SCRATCHPAD, scratch}});
    } else if (work == kInputGradient) {
      plan->run.execute(stream, {{DNNL_ARG_DIFF_SRC, images},
                                 {DNNL_ARG_WEIGHTS, packed},
                                 {DNNL_ARG_DIFF_DST, outputs},
                                 {DNNL_ARG_SCRATCHPAD, scratch}});
    } else {
      plan->run.execute(stream, {{DNNL_ARG_SRC, images},
                                 {DNNL_ARG_DIFF_WEIGHTS, packed},
                                 {DNNL_ARG_DIFF_DST, outputs},
                                 {DNNL_ARG_SCRATCHPAD, scratch}});
      reorder(packed, plain);
    }
    stream.wait();
  } catch (const std::exception& e) {
    return ffi::Error(ffi::ErrorCode::kInternal, std::string("oneDNN: ") + e.what());
  }
  return ffi::Error::Success();
}

using Array = ffi::Buffer<ffi::F32>;
using Result = ffi::ResultBuffer<ffi::F32>;
using Sizes = ffi::Span<const int64_t>;

Geometry geometry(Sizes image, Sizes kernel, Sizes output, int64_t stride, int64_t dilation, int64_t groups,
                  int64_t top, int64_t left) {
  return {image[0],  image[1],  image[2],  image[3], kernel[0], kernel[1], output[1],
          output[2], output[3], stride,    dilation, groups,    top,       left};
}

ffi::Error convolve(Array x, Array kernel, Result y, int64_t stride, int64_t dilation, int64_t groups, int64_t top,
                    int64_t left) {
  const auto g = geometry(x.dimensions(), kernel.dimensions(), y->dimensions(), stride, dilation, groups, top, left);
  return run(kConvolve, g, x.untyped_data(), kernel.untyped_data(), y->untyped_data());
}

ffi::Error input_gradient(Array kernel, Array dy, Result dx, int64_t stride, int64_t dilation, int64_t groups,
                          int64_t top, int64_t left) {
  const auto g = geometry(dx->dimensions(), kernel.dimensions(), dy.dimensions(), stride, dilation, groups, top, left);
  return run(kInputGradient, g, dx->untyped_data(), kernel.untyped_data(), dy.untyped_data());
}

ffi::Error kernel_gradient(Array x, Array dy, Result dk, int64_t stride, int64_t dilation, int64_t groups, int64_t top,
                           int64_t left) {
  const auto g = geometry(x.dimensions(), dk->dimensions(), dy.dimensions(), stride, dilation, groups, top, left);
  return run(kKernelGradient, g, x.untyped_data(), dk->untyped_data(), dy.untyped_data());
}

}  // namespace

#define JAXQC_HANDLER(name, function)                                                                            \
  XLA_FFI_DEFINE_HANDLER_SYMBOL(name, function,                                                                  \
                                ffi::Ffi::Bind().Arg<Array>().Arg<Array>().Ret<Array>().Attr<int64_t>("stride") \
                                    .Attr<int64_t>("dilation").Attr<int64_t>("groups").Attr<int64_t>("top")     \
                                    .Attr<int64_t>("left"))

JAXQC_HANDLER(JaxqcConvolve, convolve);
JAXQC_HANDLER(JaxqcInputGradient, input_gradient);
JAXQC_HANDLER(JaxqcKernelGradient, kernel_gradient);

// The name of oneDNN's kernel for 14 sizes as Geometry has them, at most `room` - 1 characters; empty where it has none.
extern "C" void JaxqcImplementation(int64_t work, const int64_t* s, char* name, int64_t room) {
  std::string found;
  try {
    const Geometry g{s[0], s[1], s[2], s[3], s[4], s[5], s[6], s[7], s[8], s[9], s[10], s[11], s[12], s[13]};
    found = plan_of(static_cast<Work>(work), g)->implementation;
  } catch (const std::exception&) {
  }
  name[found.copy(name, room - 1)] = '\0';
}
