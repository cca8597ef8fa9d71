"""The data sets, a file each: what is known of them loads without torch, tensors on demand."""

from ganterm.data import digits, mnist, ring8
from ganterm.data.source import DataSource

DATASETS: dict[str, DataSource] = {
    source.name: source for source in (digits.SOURCE, mnist.MNIST, mnist.FASHION, ring8.SOURCE)
}
