// Converts an ONNX file by MindSpore Lite: convert IN.onnx OUT.mindir, or OUT.ms for its form for small devices.
//
// The wheel of MindSpore Lite holds the converter's library, but not its header; what is called of it is declared here.
#include <include/api/format.h>
#include <include/api/status.h>
#include <include/api/types.h>
#include <include/registry/converter_context.h>

#include <filesystem>
#include <iostream>
#include <memory>
#include <string>
#include <vector>

namespace mindspore {

struct ConverterPara;

class MS_API Converter {
 public:
  Converter();
  ~Converter() = default;
  void SetInputFormat(Format format);
  void SetSaveType(ModelType type);
  Status Convert(converter::FmkType fmk, const std::vector<char> &model, const std::vector<char> &output,
                 const std::vector<char> &weights);

 private:
  std::shared_ptr<ConverterPara> data_;
};

}  // namespace mindspore

int main(int count, char **words) {
  if (count != 3) return 2;
  const std::filesystem::path target = words[2];
  mindspore::Converter converter;
  converter.SetSaveType(target.extension() == ".ms" ? mindspore::kMindIR_Lite : mindspore::kMindIR);
  converter.SetInputFormat(mindspore::NCHW);  // .ms files would have channels last
  const std::string name = std::filesystem::path(target).replace_extension().string();  // it appends the suffix
  const mindspore::Status status = converter.Convert(
      mindspore::converter::kFmkTypeOnnx, mindspore::StringToChar(words[1]), mindspore::StringToChar(name), {});
  if (status == mindspore::kSuccess) return 0;
  std::cerr << status.ToString() << std::endl;
  return 1;
}
