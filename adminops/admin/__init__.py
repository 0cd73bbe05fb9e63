"""The admin site and its pages.

`site` is the admin site; `pages` imports every page, which registers it there. A folder for each
area: accounts, generation, money, operations, staff. The other modules here are shared by all
pages. Rows of money and jobs are read-only; a button calls a service.
"""
