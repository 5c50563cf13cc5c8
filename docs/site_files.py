"""Hook of mkdocs: the site has the project's folders, so that a relative link is right in a checkout and in the site.

mkdocs takes pages from one folder, docs/. The README files and configurations that pages link to lie outside of it;
here all of them become files of the site, at their paths in the project.
"""

from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
PAGES = ("README.md", "README_CN.md", "BENCHMARKS.md", "CONTRIBUTING.md", "CHANGELOG.md", "ascend310_infer/README.md",
         "configs/*/README*.md", "datasets/*/README.md", "docs/*.md", "zoo/*.md")  # fmt: skip
OTHERS = ("LICENSE", "CITATION.cff", "configs/**/*.yaml", "configs/demo/demos.txt", "datasets/*/LICENSE",
          "zoo/weights.json", "docs/images/*", "docs/*.ipynb")  # fmt: skip


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Replace the files of docs/ by those of the project that make up the site; the theme's stay."""
    for file in [file for file in files if file.src_dir == config.docs_dir]:
        files.remove(file)
    for pattern in (*PAGES, *OTHERS):
        for path in sorted(ROOT.glob(pattern)):
            relative = path.relative_to(ROOT).as_posix()
            files.append(File(relative, str(ROOT), config.site_dir, config.use_directory_urls))
    return files
